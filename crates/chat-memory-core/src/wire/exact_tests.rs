//! Tests the two laws of every form, on lists.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::{Format, arbitrary, openai};
use crate::message::Message;

/// Checks that a list which is read is written again equal, and that its messages can be stored.
fn comes_back(format: Format, values: &[Value]) -> Result<(), TestCaseError> {
    if let Ok(messages) = format.read(values.to_vec()) {
        prop_assert_eq!(format.write(&messages), values, "{:#?}", messages);
        prop_assert!(messages.iter().all(|message| message.check().is_ok()));
    }
    Ok(())
}

/// Changes values as other programs may: fields are added, replaced, or taken from each other.
fn edited(values: impl Strategy<Value = Vec<Value>>) -> impl Strategy<Value = Vec<Value>> {
    (values, vec((any::<prop::sample::Index>(), arbitrary::object(arbitrary::value())), 0..3), any::<bool>()).prop_map(
        |(mut values, changes, turned)| {
            for (at, fields) in changes.into_iter().filter(|_| !values.is_empty()).collect::<Vec<_>>() {
                let at = at.index(values.len());
                values[at].as_object_mut().expect("an object").extend(fields);
            }
            if turned {
                values.reverse();
            }
            values
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_json_is_refused_or_comes_back(value in arbitrary::value()) {
        for format in Format::ALL {
            comes_back(*format, std::slice::from_ref(&value))?;
        }
    }

    #[test]
    fn anthropic_to_messages_and_back_is_equal(values in vec(arbitrary::of_anthropic(), 0..5)) {
        comes_back(Format::Anthropic, &values)?;
    }

    #[test]
    fn responses_to_messages_and_back_is_equal(values in vec(arbitrary::item(), 0..6)) {
        comes_back(Format::Responses, &values)?;
    }

    #[test]
    fn messages_to_any_form_and_back_are_equal(messages in vec(arbitrary::message(), 0..5)) {
        for format in Format::ALL {
            let values = format.write(&messages);
            let read = format.read(values.clone());
            prop_assert_eq!(read.as_ref(), Ok(&messages), "{} {:#?}", format, values);
            let places: Vec<_> = format.write_placed(&messages).into_iter().map(|(place, _)| place).collect();
            prop_assert!(places.is_sorted() && places.iter().all(|place| *place < messages.len()));
            prop_assert_eq!(places.last().copied(), messages.len().checked_sub(1));
        }
    }

    /// What came from one form is read again equal from each other.
    #[test]
    fn messages_of_one_form_are_exact_in_the_others(blocks in vec(arbitrary::of_anthropic(), 0..4), items in vec(arbitrary::item(), 0..4)) {
        for (from, values) in [(Format::Anthropic, &blocks), (Format::OpenAi, &blocks), (Format::Responses, &items), (Format::OpenAi, &items)] {
            let Ok(messages) = from.read(values.clone()) else { continue };
            for format in Format::ALL {
                let written = format.write(&messages);
                let read = format.read(written.clone());
                prop_assert_eq!(read.as_ref(), Ok(&messages), "{} {} {:#?}", from, format, written);
            }
        }
    }

    #[test]
    fn edited_values_come_back(
        of_anthropic in edited(vec(arbitrary::message(), 1..4).prop_map(|messages| Format::Anthropic.write(&messages))),
        items in edited(vec(arbitrary::message(), 1..4).prop_map(|messages| Format::Responses.write(&messages))),
    ) {
        comes_back(Format::Anthropic, &of_anthropic)?;
        comes_back(Format::Responses, &items)?;
    }
}

#[test]
fn a_message_stored_in_openais_form_needs_a_short_overlay() {
    let block = serde_json::json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
    let message: Message = openai::from_value(block.clone()).expect("good");
    let mut written = Format::Anthropic.write(std::slice::from_ref(&message));
    assert_eq!(Format::Anthropic.read(written.clone()), Ok(vec![message]));
    let overlay = written[0].as_object_mut().expect("an object").shift_remove("chat_memory");
    assert_eq!((&written[0], overlay), (&block, Some(r#"{"values":1,"messages":["raw"]}"#.into())));
}
