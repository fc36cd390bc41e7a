//! The functions that the chart's templates call: Go's own, and helm's.

use serde_json::{Map, Value};

use super::evaluate::{is_true, printed};

/// Calls a function; the error says what is wrong with its arguments.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    match (name, arguments) {
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("empty", [value]) => Ok((!is_true(value)).into()),
        ("eq", [value, others @ ..]) if !others.is_empty() => {
            let equal = others.iter().map(|other| same(value, other)).collect::<Result<Vec<_>, _>>()?;
            Ok(equal.contains(&true).into())
        }
        ("ne", [value, other]) => Ok((!same(value, other)?).into()),
        ("gt", [Value::Number(one), Value::Number(other)]) => Ok((one.as_i64() > other.as_i64()).into()),
        ("default", [fallback, value]) => Ok(if is_true(value) { value } else { fallback }.clone()),
        ("ternary", [yes, no, Value::Bool(decision)]) => Ok(if *decision { yes } else { no }.clone()),
        ("required", [Value::String(message), value]) => match value {
            Value::Null => Err(message.clone()),
            Value::String(text) if text.is_empty() => Err(message.clone()),
            value => Ok(value.clone()),
        },
        ("fail", [Value::String(message)]) => Err(message.clone()),
        ("list", items) => Ok(items.to_vec().into()),
        ("concat", lists) => concat(lists),
        ("dict", pairs) => dict(pairs),
        ("has", [item, Value::Array(items)]) => Ok(items.contains(item).into()),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value, element).cloned(),
        ("hasKey", [Value::Object(fields), Value::String(name)]) => Ok(fields.contains_key(name).into()),
        ("int", [value]) => int(value),
        ("toString", [value]) => Ok(printed(value).into()),
        ("quote", [Value::Null]) => Ok("".into()),
        ("quote", [value]) => Ok(Value::String(printed(value)).to_string().into()),
        ("toYaml", [value]) => Ok(osm_k8s::yaml::write(value).trim_end_matches('\n').into()),
        ("toJson", [value]) => Ok(value.to_string().into()),
        ("indent", [width, Value::String(text)]) => Ok(indent(width, text)?.into()),
        ("nindent", [width, Value::String(text)]) => Ok(format!("\n{}", indent(width, text)?).into()),
        ("trunc", [length, Value::String(text)]) => {
            Ok(text.chars().take(size(length)?).collect::<String>().into())
        }
        ("trimSuffix", [Value::String(end), Value::String(text)]) => {
            Ok(text.strip_suffix(end.as_str()).unwrap_or(text).into())
        }
        ("join", [Value::String(between), Value::Array(items)]) => {
            Ok(items.iter().map(printed).collect::<Vec<_>>().join(between).into())
        }
        ("printf", [Value::String(format), values @ ..]) => printf(format, values),
        _ => {
            let given: Vec<String> = arguments.iter().map(Value::to_string).collect();
            Err(format!("the function `{name}` is not known, or not for ({})", given.join(", ")))
        }
    }
}

/// Whether two are equal. Go refuses to compare different kinds, and so does this.
fn same(one: &Value, other: &Value) -> Result<bool, String> {
    let comparable = matches!(
        (one, other),
        (Value::Bool(_), Value::Bool(_))
            | (Value::Number(_), Value::Number(_))
            | (Value::String(_), Value::String(_))
    );
    if comparable { Ok(one == other) } else { Err(format!("{one} and {other} can't be compared")) }
}

/// What a map has under a name, or a list at a place; nothing where there is none.
fn element<'v>(value: &'v Value, key: &Value) -> Result<&'v Value, String> {
    match (value, key) {
        (Value::Object(fields), Value::String(name)) => Ok(fields.get(name).unwrap_or(&Value::Null)),
        (Value::Array(items), key) => {
            items.get(size(key)?).ok_or_else(|| format!("{key} is beyond the end of a list"))
        }
        _ => Err(format!("{value} has no element {key}")),
    }
}

fn concat(lists: &[Value]) -> Result<Value, String> {
    let mut all = Vec::new();
    for list in lists {
        all.extend(
            list.as_array().ok_or_else(|| format!("`concat` wants lists, not {list}"))?.iter().cloned(),
        );
    }
    Ok(all.into())
}

fn dict(pairs: &[Value]) -> Result<Value, String> {
    let mut fields = Map::new();
    for pair in pairs.chunks(2) {
        match pair {
            [Value::String(name), value] => fields.insert(name.clone(), value.clone()),
            _ => return Err("`dict` wants names in quotes, and a value after each".to_owned()),
        };
    }
    Ok(fields.into())
}

fn int(value: &Value) -> Result<Value, String> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)),
        Value::String(text) => text.parse::<i64>().ok(),
        _ => None,
    }
    .map(Value::from)
    .ok_or_else(|| format!("{value} is no whole number"))
}

fn size(value: &Value) -> Result<usize, String> {
    value.as_u64().and_then(|size| size.try_into().ok()).ok_or_else(|| format!("{value} is no length"))
}

fn indent(width: &Value, text: &str) -> Result<String, String> {
    let space = " ".repeat(size(width)?);
    Ok(text.split('\n').map(|line| format!("{space}{line}")).collect::<Vec<_>>().join("\n"))
}

fn printf(format: &str, values: &[Value]) -> Result<Value, String> {
    let mut values = values.iter();
    let mut out = String::new();
    let mut pieces = format.split('%');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let mut value = || values.next().ok_or_else(|| format!("`printf {format:?}` has too few values"));
        match piece.chars().next() {
            Some('s' | 'd' | 'v') => out.push_str(&printed(value()?)),
            Some('q') => out.push_str(&Value::String(printed(value()?)).to_string()),
            _ => return Err(format!("`printf {format:?}`: only %s, %d, %v and %q are known")),
        }
        out.push_str(&piece[1..]);
    }
    match values.next() {
        None => Ok(out.into()),
        Some(_) => Err(format!("`printf {format:?}` has too many values")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_do_what_those_of_helm_do() {
        for (name, arguments, expected) in [
            ("default", json!(["x", ""]), json!("x")),
            ("default", json!(["x", "y"]), json!("y")),
            ("quote", json!([5]), json!("\"5\"")),
            ("quote", json!([true]), json!("\"true\"")),
            ("nindent", json!([2, "a\nb"]), json!("\n  a\n  b")),
            ("trunc", json!([3, "abcdef"]), json!("abc")),
            ("trimSuffix", json!(["-", "ab-"]), json!("ab")),
            ("toYaml", json!([{"a": [1, "b"], "c": {}}]), json!("a:\n- 1\n- b\nc: {}")),
            ("printf", json!(["%s-%d %q", "a", 2, "b"]), json!("a-2 \"b\"")),
            ("eq", json!(["a", "b", "a"]), json!(true)),
            ("ne", json!(["a", "a"]), json!(false)),
            ("dict", json!(["a", 1]), json!({"a": 1})),
            ("concat", json!([[1], [2]]), json!([1, 2])),
            ("has", json!(["a", ["b", "a"]]), json!(true)),
            ("int", json!([3.0]), json!(3)),
            ("ternary", json!([1, 2, false]), json!(2)),
            ("index", json!([{"a": [1, 2]}, "a", 1]), json!(2)),
            ("join", json!([",", ["a", 1]]), json!("a,1")),
        ] {
            let arguments = arguments.as_array().unwrap();
            assert_eq!(call(name, arguments), Ok(expected), "{name} {arguments:?}");
        }
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (name, arguments) in [
            ("eq", json!(["a", 1])),
            ("dict", json!(["a"])),
            ("int", json!(["x"])),
            ("trunc", json!([-1, "a"])),
            ("printf", json!(["%s"])),
            ("printf", json!(["%x", 1])),
            ("printf", json!(["a", 1])),
            ("index", json!([[1], 1])),
            ("nosuch", json!([])),
        ] {
            assert!(call(name, arguments.as_array().unwrap()).is_err(), "{name} {arguments}");
        }
    }
}
