//! The checker of expressions against what proxies were seen to do with them.

use osm_core::re2;
use osm_core::testing::{REGEXES, RegexVerdict};

#[test]
fn exactly_the_expressions_that_proxies_read_as_written_are_accepted() {
    let all =
        || REGEXES.iter().flat_map(|(verdict, regexes)| regexes.iter().map(move |regex| (verdict, regex)));
    assert!(all().count() > 100);
    let is_wrong = |(verdict, regex): &(&RegexVerdict, &&str)| {
        re2::check(regex).is_ok() != (**verdict == RegexVerdict::Accepted)
    };
    let wrong: Vec<_> =
        all().filter(is_wrong).map(|(verdict, regex)| (verdict, regex, re2::check(regex))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
