//! The functions that the chart's templates call: Go's own, and helm's. Others are refused by name.

use serde_json::{Map, Value};

use super::evaluate::{is_true, printed};

/// Calls a function; the error says what is wrong with its arguments.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    match (name, arguments) {
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("eq", [Value::String(one), Value::String(other)]) => Ok((one == other).into()),
        ("default", [fallback, value]) => Ok(if is_true(value) { value } else { fallback }.clone()),
        ("dict", pairs) => dict(pairs),
        // What a map has under a name; nothing where there is none.
        ("index", [Value::Object(fields), Value::String(name)]) => {
            Ok(fields.get(name).cloned().unwrap_or_default())
        }
        ("int", [value]) => int(value),
        ("quote", [Value::Null]) => Ok("".into()),
        ("quote", [value]) => Ok(Value::String(printed(value)).to_string().into()),
        ("toYaml", [value]) => Ok(osm_k8s::yaml::write(value).trim_end_matches('\n').into()),
        ("toJson", [value]) => Ok(value.to_string().into()),
        ("nindent", [width, Value::String(text)]) => nindent(width, text),
        _ => {
            let given: Vec<String> = arguments.iter().map(Value::to_string).collect();
            Err(format!("the function `{name}` is not known, or not for ({})", given.join(", ")))
        }
    }
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

/// A text on lines of its own, so far to the right.
fn nindent(width: &Value, text: &str) -> Result<Value, String> {
    let width = width.as_u64().and_then(|width| width.try_into().ok());
    let space = " ".repeat(width.ok_or("`nindent` wants how many spaces")?);
    Ok(text.split('\n').map(|line| format!("\n{space}{line}")).collect::<String>().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_do_what_those_of_helm_do() {
        for (name, arguments, expected) in [
            ("not", json!([""]), json!(true)),
            ("eq", json!(["x", "x"]), json!(true)),
            ("eq", json!(["x", "y"]), json!(false)),
            ("default", json!(["x", ""]), json!("x")),
            ("default", json!(["x", "y"]), json!("y")),
            ("quote", json!([null]), json!("")),
            ("quote", json!([5]), json!("\"5\"")),
            ("quote", json!([true]), json!("\"true\"")),
            ("nindent", json!([2, "a\nb"]), json!("\n  a\n  b")),
            ("toYaml", json!([{"a": [1, "b"], "c": {}}]), json!("a:\n- 1\n- b\nc: {}")),
            ("toJson", json!([["a", 1]]), json!("[\"a\",1]")),
            ("dict", json!(["a", 1]), json!({"a": 1})),
            ("int", json!([3.0]), json!(3)),
            ("int", json!(["3"]), json!(3)),
            ("index", json!([{"a": 1}, "a"]), json!(1)),
            ("index", json!([{"a": 1}, "b"]), json!(null)),
        ] {
            let arguments = arguments.as_array().unwrap();
            assert_eq!(call(name, arguments), Ok(expected), "{name} {arguments:?}");
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (name, arguments) in [
            ("dict", json!(["a"])),
            ("int", json!(["x"])),
            ("nindent", json!([-1, "a"])),
            ("index", json!([[1], 0])),
            ("not", json!([])),
            ("eq", json!(["1", 1])),
        ] {
            assert!(call(name, arguments.as_array().unwrap()).is_err(), "{name} {arguments}");
        }
    }

    #[test]
    fn a_function_that_the_chart_does_not_call_is_refused_by_its_name() {
        // Helm has them, and somebody who writes a template may take them for granted.
        for name in ["ne", "and", "printf", "required", "lookup"] {
            let refused = call(name, &["a".into(), "a".into()]).unwrap_err();
            assert!(refused.contains(&format!("the function `{name}` is not known")), "{refused}");
        }
    }
}
