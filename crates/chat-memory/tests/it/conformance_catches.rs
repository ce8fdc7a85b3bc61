//! Tests the conformance suite itself: each of its cases fails on a store that breaks the tested promise.
//!
//! The broken stores are the in-memory store with one fault.
#![cfg(feature = "conformance")]

use chat_memory::conformance::{Capability, Case, Outcome, Suite};
use chat_memory::store::{Capabilities, InMemoryStore};

use crate::broken::{Broken, Fault};

/// Each case of the suite, with a fault that it catches.
const CAUGHT: &[(&str, Fault)] = &[
    ("new_session_is_empty", Fault::LoadsWrite),
    ("append_is_one_record", Fault::SplitsAppends),
    ("append_is_one_record", Fault::DropsLastMessage),
    ("load_returns_whole_records", Fault::TornWindows),
    ("messages_load_in_append_order", Fault::Reverses),
    ("record_numbers_are_consecutive", Fault::WrongNumbers),
    ("append_returns_number_time_and_position", Fault::WrongNumbers),
    ("only_the_first_append_reports_a_started_session", Fault::AlwaysStarts),
    ("appends_are_visible_on_every_handle", Fault::StaleHandles),
    ("idle_handle_follows_writes_of_others", Fault::StaleHandles),
    ("similar_session_ids_stay_separate", Fault::IgnoresCase),
    ("metadata_round_trips", Fault::DropsMetadata),
    ("message_times_round_trip", Fault::DropsTimes),
    ("acknowledged_append_survives_reopening", Fault::Forgets),
    ("concurrent_appends_are_all_stored_once", Fault::LosesSome),
    ("append_order_follows_real_time", Fault::OutOfOrder),
    ("concurrent_loads_see_whole_prefixes", Fault::SplitsAppends),
    ("concurrent_writers_of_different_sessions_do_not_interfere", Fault::OneSession),
    ("current_position_is_accepted", Fault::AlwaysConflicts),
    ("conflict_writes_nothing_and_carries_the_current_position", Fault::WritesOnConflict),
    ("conflict_writes_nothing_and_carries_the_current_position", Fault::IgnoresPositions),
    ("position_of_an_empty_log_is_valid_until_the_first_record", Fault::IgnoresPositions),
    ("position_survives_conversion_to_text", Fault::IgnoresPositions),
    ("position_ignores_the_time_it_was_read", Fault::OldPositionsConflict),
    ("position_of_another_log_conflicts", Fault::IgnoresPositionIds),
    ("position_from_before_a_clear_conflicts", Fault::IgnoresPositions),
    ("one_of_many_appends_at_one_position_wins", Fault::IgnoresPositions),
    ("one_of_many_first_appends_wins", Fault::IgnoresPositions),
    ("repeated_key_is_stored_once", Fault::IgnoresKeys),
    ("key_with_another_body_is_refused", Fault::IgnoresBodies),
    ("key_applies_to_its_session_only", Fault::GlobalKeys),
    ("key_ignores_the_field_order_of_its_body", Fault::ComparesText),
    ("key_used_concurrently_is_stored_once", Fault::IgnoresKeys),
    ("key_is_recognised_after_a_clear", Fault::ForgetsCleared),
    ("key_is_recognised_after_many_records", Fault::ShortMemory),
    ("repeated_key_wins_over_an_outdated_position", Fault::PositionBeforeKey),
    ("repeated_clear_clears_once", Fault::IgnoresKeys),
    ("ticket_of_an_unstored_append_stores_it_once", Fault::IgnoresTickets),
    ("ticket_finds_its_stored_append", Fault::TicketsDoNotSearch),
    ("ticket_used_concurrently_stores_once", Fault::IgnoresTickets),
    ("ticket_with_another_body_is_refused", Fault::IgnoresBodies),
    ("ticket_is_recognised_after_a_clear", Fault::ForgetsCleared),
    ("ticket_still_checks_the_expected_position", Fault::TicketsIgnorePositions),
    ("rewind_restores_the_view_before_any_record", Fault::RewindsTooLittle),
    ("rewind_replaces_messages_in_one_step", Fault::RewindsDropMessages),
    ("rewinding_a_rewind_restores_nothing", Fault::RewindsUndo),
    ("rewind_at_an_outdated_position_conflicts", Fault::IgnoresPositions),
    ("rewind_to_a_record_not_in_view_is_refused", Fault::IgnoresRewinds),
    ("repeated_rewind_is_stored_once", Fault::IgnoresKeys),
    ("one_of_many_concurrent_rewinds_wins", Fault::IgnoresPositions),
    ("rewind_does_not_undo_a_clear", Fault::RewindsUndo),
    ("turn_is_removed_with_its_tool_calls", Fault::RewindsDropMessages),
    ("last_turns_are_removed_even_within_a_record", Fault::RewindsDropMessages),
    ("clear_empties_the_session_on_every_handle", Fault::ClearsHalf),
    ("clear_empties_the_session_on_every_handle", Fault::NeverComplete),
    ("clear_of_an_empty_session_succeeds", Fault::RefusesEmptyClears),
    ("clear_takes_effect_before_its_sweep", Fault::ClearsLate),
    ("only_appends_after_a_clear_are_visible", Fault::ClearsHalf),
    ("sweep_never_changes_a_load", Fault::SweepsTooMuch),
    ("load_during_a_clear_sees_all_or_nothing", Fault::ClearsSlowly),
    ("append_is_ordered_before_or_after_a_clear", Fault::ClearsTwice),
    ("concurrent_clears_keep_what_follows_the_last", Fault::ClearsTwice),
    ("replacement_is_one_step", Fault::ReplacesInTwoSteps),
    ("clear_at_an_outdated_position_conflicts", Fault::IgnoresPositions),
    ("other_entries_come_back", Fault::RoundsNumbers),
    ("windows_pass_over_other_entries", Fault::WindowsCountEntries),
    ("other_entries_keep_their_place_and_time", Fault::DropsTimes),
    ("other_entries_are_stored_or_refused", Fault::DropsOtherEntries),
    ("an_id_is_stored_once", Fault::DropsIds),
    ("an_id_with_another_body_is_refused", Fault::DropsIds),
    ("a_cleared_id_may_be_appended_again", Fault::ClearsHalf),
    ("remembered_ids_follow_other_writers", Fault::ClearsHalf),
    ("overlapping_batches_at_once_store_each_id_once", Fault::DropsIds),
    ("text_round_trips_byte_for_byte", Fault::DropsNul),
    ("numbers_round_trip_exactly", Fault::RoundsNumbers),
    ("number_literals_round_trip_as_the_nearest_double", Fault::RoundsNumbers),
    ("unknown_fields_round_trip", Fault::DropsNulls),
    ("tool_calls_round_trip", Fault::NormalisesArguments),
    ("content_parts_round_trip", Fault::FlattensParts),
    ("every_role_and_known_field_round_trips", Fault::DropsNames),
    ("deeply_nested_messages_round_trip", Fault::CutsDepth),
    ("random_messages_round_trip", Fault::DropsNul),
    ("one_megabyte_message_round_trips", Fault::CutsText),
    ("three_megabyte_turn_round_trips_as_one_record", Fault::CutsRecords),
    ("windows_return_at_least_what_was_requested", Fault::ShortWindows),
    ("turns_are_counted_in_every_message_form", Fault::ShortWindows),
    ("windows_exclude_rewound_records", Fault::WindowsCountHidden),
    ("windows_never_reach_past_a_clear", Fault::WindowsReachBehindClears),
    ("window_reports_whether_it_is_complete", Fault::AlwaysComplete),
    ("empty_window_still_returns_the_position", Fault::NoPositionOfNothing),
    ("backward_pages_return_every_record_once", Fault::PagesStandStill),
    ("backward_pages_exclude_rewound_records", Fault::PagesShowTakenBack),
    ("continued_page_shows_only_currently_visible_records", Fault::PagesShowTakenBack),
    ("load_since_a_number_returns_newer_records", Fault::SinceForgetsOne),
    ("page_cursor_survives_conversion_to_text", Fault::PagesStandStill),
    ("random_histories_match_the_model", Fault::RewindsUndo),
    ("append_costs_the_same_at_any_length", Fault::CostsLength),
    ("append_with_a_key_costs_the_same_at_any_length", Fault::CostsLength),
    ("window_costs_the_same_at_any_length", Fault::CostsLength),
    ("page_costs_the_same_at_any_depth", Fault::CostsDepth),
    ("long_session_loads_whole", Fault::ThousandAtMost),
    ("session_is_listed_from_its_first_record", Fault::ListsNothing),
    ("sessions_are_listed_newest_first", Fault::OldestFirst),
    ("session_is_listed_by_its_given_start_time", Fault::StartsNow),
    ("list_of_all_sessions_covers_every_owner", Fault::ListsNobodysOnly),
    ("each_owner_lists_only_its_own_sessions", Fault::SharedLists),
    ("pages_list_every_session_once", Fault::PagesLose),
    ("listing_continues_after_its_last_session_is_deleted", Fault::PagesNeedTheirSession),
    ("title_and_metadata_are_updated_independently", Fault::UpdatesHalf),
    ("unlisted_session_has_no_entry_and_cannot_be_updated", Fault::UpdatesList),
    ("cleared_session_stays_listed", Fault::ClearsUnlist),
    ("deleted_session_is_not_listed", Fault::DeletesKeepListed),
    ("invalid_titles_metadata_and_cursors_are_refused", Fault::AcceptsTitles),
    ("sessions_are_listed_by_last_activity", Fault::ListsByStart),
    ("sessions_are_listed_by_last_activity", Fault::OldestFirst),
    ("pages_by_last_activity_list_unchanged_sessions_once", Fault::PagesLose),
    ("concurrent_first_appends_list_the_session_once", Fault::ListsTwice),
    ("concurrent_deletes_and_appends_leave_one_entry_or_none", Fault::ListsTwice),
    ("concurrent_deletes_and_appends_leave_one_entry_or_none", Fault::DeletesKeepListed),
    ("repeat_after_a_delete_does_not_list_the_session", Fault::DeletesKeepListed),
    ("delete_reports_whether_the_session_existed", Fault::DeletesAlwaysExisted),
    ("listed_records_and_first_words_are_those_in_view", Fault::OldFirstWords),
    ("listed_records_and_first_words_are_those_in_view", Fault::CountsTooMany),
    ("contents_are_those_of_the_listed_session", Fault::ReadsAnothers),
    ("sessions_of_all_owners_are_listed_in_one_order", Fault::ListsNobodysForAll),
    ("store_without_a_directory_reports_unsupported", Fault::ListsNothing),
    ("deleted_session_is_empty", Fault::DeletesNothing),
    ("deleted_session_can_be_restarted", Fault::DeletesTheLog),
    ("position_from_before_a_delete_conflicts", Fault::DeletesTheLog),
    ("key_is_recognised_after_a_delete", Fault::DeletesTheLog),
    ("append_is_ordered_before_or_after_a_delete", Fault::DeletesLate),
    ("search_finds_messages_with_all_words", Fault::FindsNothing),
    ("search_finds_only_what_a_load_returns", Fault::FindsHidden),
    ("search_finds_sessions_by_title_id_and_owner", Fault::FindsOthers),
    ("search_pages_have_every_hit_once", Fault::FindsTwice),
    ("search_keeps_to_the_given_time", Fault::FindsAllTimes),
    ("invalid_search_is_refused", Fault::FindsByAnyCursor),
    ("records_are_appended_together", Fault::ForksOneByOne),
    ("records_appended_together_are_stored_once", Fault::IgnoresKeys),
    ("records_appended_together_are_stored_once", Fault::IgnoresTickets),
    ("fork_copies_what_is_visible", Fault::ForksDropLast),
    ("fork_and_source_do_not_affect_each_other", Fault::OneSession),
    ("fork_into_an_existing_session_conflicts", Fault::ForksBlindly),
    ("load_during_a_fork_sees_all_or_nothing", Fault::ForksOneByOne),
    ("one_of_many_concurrent_forks_wins", Fault::ForksBlindly),
    ("repeated_fork_is_made_once", Fault::IgnoresKeys),
    ("fork_is_listed_with_its_origin", Fault::ForksWithoutOrigin),
    ("redacted_message_is_replaced_in_its_place", Fault::RedactsRecords),
    ("redacted_calls_keep_their_results", Fault::RedactsNothing),
    ("repeated_redaction_changes_nothing", Fault::RedactsAgain),
    ("hidden_record_is_redacted_or_erased", Fault::RedactsNothing),
    ("redaction_of_what_is_not_there_is_refused", Fault::RedactsAnything),
    ("repeat_of_a_redacted_append_is_recognised", Fault::IgnoresKeys),
    ("redacted_text_is_not_found", Fault::RedactsNothing),
    ("large_record_is_redacted", Fault::RedactsRecords),
    ("redactions_at_once_all_hold", Fault::RedactsRecords),
    ("sessions_of_an_owner_are_deleted", Fault::SharedLists),
    ("invalid_input_writes_nothing", Fault::WritesBadInput),
    ("values_at_the_limits_are_accepted", Fault::RefusesLongKeys),
    ("extreme_numbers_get_a_defined_outcome", Fault::AddsUnchecked),
];

fn suite(fault: Fault) -> Suite {
    let data = InMemoryStore::new();
    Suite::new(move || std::future::ready(Ok(Broken::new(data.clone(), fault))))
}

async fn outcome(case: &str, fault: Fault) -> Outcome {
    let case = Suite::cases().find(|known| known.name == case).unwrap_or_else(|| panic!("the suite has no case {case:?}"));
    suite(fault).run(case).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_case_catches_a_fault() {
    let missing: Vec<&str> =
        Suite::cases().map(|case| case.name).filter(|name| !CAUGHT.iter().any(|(case, _)| case == name)).collect();
    assert!(missing.is_empty(), "nothing shows that these cases can fail: {missing:?}");
    let mut passed = Vec::new();
    for (case, fault) in CAUGHT {
        match outcome(case, *fault).await {
            Outcome::Failed(_) => {}
            outcome => passed.push(format!("{case} does not catch {fault:?}: {outcome:?}")),
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
}

#[test]
fn each_fault_is_caught() {
    for fault in Fault::ALL {
        assert!(CAUGHT.iter().any(|(_, caught)| caught == fault) || *fault == Fault::None, "no case catches {fault:?}");
    }
}

/// The wrapper alone breaks nothing: what the cases catch is the fault.
#[tokio::test(flavor = "multi_thread")]
async fn store_without_a_fault_passes() {
    let report = suite(Fault::None).run_all().await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.passed().count() + report.not_declared().count(), Suite::cases().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn undeclared_capabilities_are_reported() {
    let data = InMemoryStore::new();
    let declares = Capabilities::all()
        .with_durable(false)
        .with_rewind(false)
        .with_last_activity(None)
        .with_any_owner(false)
        .with_bounded_cost(false)
        .with_entries(false)
        .with_fork(false)
        .with_redact(false);
    let suite = Suite::new(move || std::future::ready(Ok(Broken::declaring(data.clone(), declares))));
    let report = suite.run_all().await;
    assert!(report.is_ok(), "{report}");
    let lacks = |case: &&Case| case.needs.is_some_and(|needed| needed != Capability::Directory);
    assert_eq!(report.not_declared().count(), Suite::cases().filter(lacks).count());
    assert!(report.to_string().contains("not declared rewinding_a_rewind_restores_nothing (Rewind)"), "{report}");
}
