//! Tests the conformance suite itself: each of its cases fails on a store that breaks the tested promise.
//!
//! The broken stores are the in-memory store with one fault.
#![cfg(feature = "conformance")]

use chat_memory::conformance::{Capability, Case, Outcome, Suite};
use chat_memory::store::{Capabilities, InMemoryStore};

use crate::broken::{Broken, Fault};

/// Each case of the suite, with a fault that it catches.
const CAUGHT: &[(&str, Fault)] = &[
    ("a_new_session_is_empty", Fault::LoadsWrite),
    ("an_append_is_one_record", Fault::SplitsAppends),
    ("an_append_is_one_record", Fault::DropsLastMessage),
    ("a_load_brings_whole_records", Fault::TornWindows),
    ("messages_come_back_in_order", Fault::Reverses),
    ("numbers_are_consecutive", Fault::WrongNumbers),
    ("an_append_says_where_it_stands", Fault::WrongNumbers),
    ("only_the_first_append_starts_a_session", Fault::AlwaysStarts),
    ("handles_agree", Fault::StaleHandles),
    ("a_handle_sees_what_others_did_to_its_tail", Fault::StaleHandles),
    ("sessions_are_apart", Fault::IgnoresCase),
    ("metadata_comes_back", Fault::DropsMetadata),
    ("the_times_of_messages_come_back", Fault::DropsTimes),
    ("what_was_appended_survives_reopening", Fault::Forgets),
    ("no_append_is_lost_among_many", Fault::LosesSome),
    ("the_order_is_that_of_time", Fault::OutOfOrder),
    ("loads_during_appends_see_whole_prefixes", Fault::SplitsAppends),
    ("many_sessions_at_once", Fault::OneSession),
    ("an_expected_position_that_is_true_is_accepted", Fault::AlwaysConflicts),
    ("a_conflict_writes_nothing_and_names_the_position", Fault::WritesOnConflict),
    ("a_conflict_writes_nothing_and_names_the_position", Fault::IgnoresPositions),
    ("the_position_of_an_empty_log", Fault::IgnoresPositions),
    ("a_position_travels_as_text", Fault::IgnoresPositions),
    ("a_position_is_no_clock", Fault::OldPositionsConflict),
    ("a_position_of_another_log_conflicts", Fault::IgnoresPositionIds),
    ("a_position_before_a_clear_conflicts", Fault::IgnoresPositions),
    ("one_of_many_at_one_position_wins", Fault::IgnoresPositions),
    ("one_of_many_first_writers_wins", Fault::IgnoresPositions),
    ("a_repeated_key_is_stored_once", Fault::IgnoresKeys),
    ("a_key_with_another_body_is_refused", Fault::IgnoresBodies),
    ("a_key_belongs_to_its_session", Fault::GlobalKeys),
    ("a_key_knows_its_body_in_any_field_order", Fault::ComparesText),
    ("a_key_used_at_once_is_stored_once", Fault::IgnoresKeys),
    ("a_key_is_known_after_a_clear", Fault::ForgetsCleared),
    ("a_key_is_known_far_back", Fault::ShortMemory),
    ("a_key_comes_before_the_position", Fault::PositionBeforeKey),
    ("a_repeated_clear_clears_once", Fault::IgnoresKeys),
    ("a_ticket_of_an_append_that_never_landed_lands_once", Fault::IgnoresTickets),
    ("a_ticket_of_an_append_that_landed_is_found", Fault::TicketsDoNotSearch),
    ("a_ticket_used_at_once_lands_once", Fault::IgnoresTickets),
    ("a_ticket_with_another_body_is_refused", Fault::IgnoresBodies),
    ("a_ticket_is_known_after_a_clear", Fault::ForgetsCleared),
    ("a_ticket_keeps_its_position", Fault::TicketsIgnorePositions),
    ("a_rewind_takes_back_to_any_record", Fault::RewindsTooLittle),
    ("a_rewind_may_bring_messages", Fault::RewindsDropMessages),
    ("a_rewind_of_a_rewind", Fault::RewindsUndo),
    ("a_rewind_at_an_old_position_conflicts", Fault::IgnoresPositions),
    ("a_rewind_needs_its_record_in_view", Fault::IgnoresRewinds),
    ("a_rewind_is_stored_once", Fault::IgnoresKeys),
    ("one_of_many_rewinds_wins", Fault::IgnoresPositions),
    ("a_rewind_does_not_undo_a_clear", Fault::RewindsUndo),
    ("a_turn_is_taken_back_with_its_tools", Fault::RewindsDropMessages),
    ("the_last_turns_are_taken_back", Fault::RewindsDropMessages),
    ("a_clear_forgets_everything", Fault::ClearsHalf),
    ("a_clear_forgets_everything", Fault::NeverComplete),
    ("a_clear_of_an_empty_session", Fault::RefusesEmptyClears),
    ("a_clear_takes_effect_before_its_sweep", Fault::ClearsLate),
    ("a_session_goes_on_after_a_clear", Fault::ClearsHalf),
    ("a_sweep_changes_no_load", Fault::SweepsTooMuch),
    ("loads_see_all_or_nothing_of_what_is_cleared", Fault::ClearsSlowly),
    ("an_append_is_before_or_after_a_clear", Fault::ClearsTwice),
    ("clears_at_once", Fault::ClearsTwice),
    ("a_replacement_is_one_step", Fault::ReplacesInTwoSteps),
    ("a_clear_heeds_its_position", Fault::IgnoresPositions),
    ("other_entries_come_back", Fault::RoundsNumbers),
    ("windows_pass_over_other_entries", Fault::WindowsCountEntries),
    ("other_entries_keep_their_place_and_time", Fault::DropsTimes),
    ("other_entries_are_stored_or_refused", Fault::DropsOtherEntries),
    ("an_id_is_stored_once", Fault::DropsIds),
    ("an_id_with_another_body_is_refused", Fault::DropsIds),
    ("a_cleared_id_may_be_appended_again", Fault::ClearsHalf),
    ("overlapping_batches_at_once_store_each_id_once", Fault::IgnoresPositions),
    ("text_comes_back_to_the_byte", Fault::DropsNul),
    ("numbers_come_back_as_they_are", Fault::RoundsNumbers),
    ("number_literals_come_back_as_they_were_read", Fault::RoundsNumbers),
    ("unknown_fields_come_back", Fault::DropsNulls),
    ("tool_calls_come_back", Fault::NormalisesArguments),
    ("content_parts_come_back", Fault::FlattensParts),
    ("every_role_and_known_field_comes_back", Fault::DropsNames),
    ("deep_messages_come_back", Fault::CutsDepth),
    ("random_messages_come_back", Fault::DropsNul),
    ("a_message_of_a_megabyte_comes_back", Fault::CutsText),
    ("a_turn_of_three_megabytes_comes_back", Fault::CutsRecords),
    ("windows_bring_what_was_asked", Fault::ShortWindows),
    ("turns_are_counted_in_every_form", Fault::ShortWindows),
    ("windows_follow_rewinds", Fault::WindowsCountHidden),
    ("windows_end_at_clears", Fault::WindowsReachBehindClears),
    ("a_window_says_whether_it_is_all", Fault::AlwaysComplete),
    ("an_empty_window_still_says_where_the_log_is", Fault::NoPositionOfNothing),
    ("pages_back_are_the_whole", Fault::PagesStandStill),
    ("pages_back_follow_rewinds", Fault::PagesShowTakenBack),
    ("a_page_before_shows_what_is_in_view_now", Fault::PagesShowTakenBack),
    ("a_load_since_a_number_brings_what_is_new", Fault::SinceForgetsOne),
    ("a_cursor_travels_as_text", Fault::PagesStandStill),
    ("random_histories_agree_with_the_model", Fault::RewindsUndo),
    ("an_append_costs_the_same_at_any_length", Fault::CostsLength),
    ("an_append_with_a_key_costs_the_same_at_any_length", Fault::CostsLength),
    ("a_window_costs_the_same_at_any_length", Fault::CostsLength),
    ("a_page_costs_the_same_at_any_depth", Fault::CostsDepth),
    ("a_long_session_loads_whole", Fault::ThousandAtMost),
    ("a_session_is_listed_from_its_first_record", Fault::ListsNothing),
    ("sessions_are_listed_newest_first", Fault::OldestFirst),
    ("a_session_starts_at_the_time_given", Fault::StartsNow),
    ("every_session_is_listed_whoever_owns_it", Fault::ListsNobodysOnly),
    ("owners_are_apart", Fault::SharedLists),
    ("pages_lose_and_double_nothing", Fault::PagesLose),
    ("a_page_goes_on_after_its_session_is_gone", Fault::PagesNeedTheirSession),
    ("a_session_can_be_titled_and_described", Fault::UpdatesHalf),
    ("a_session_that_is_not_listed_is_none", Fault::UpdatesList),
    ("a_clear_leaves_the_session_listed", Fault::ClearsUnlist),
    ("a_deleted_session_is_not_listed", Fault::DeletesKeepListed),
    ("bad_titles_and_cursors_are_refused", Fault::AcceptsTitles),
    ("sessions_are_listed_by_last_activity", Fault::ListsByStart),
    ("sessions_are_listed_by_last_activity", Fault::OldestFirst),
    ("pages_by_last_activity_lose_and_double_nothing", Fault::PagesLose),
    ("first_appends_at_once_list_a_session_once", Fault::ListsTwice),
    ("deletes_next_to_appends_leave_one_entry_or_none", Fault::ListsTwice),
    ("deletes_next_to_appends_leave_one_entry_or_none", Fault::DeletesKeepListed),
    ("a_repeat_after_a_delete_lists_nothing", Fault::DeletesKeepListed),
    ("a_delete_says_whether_there_was_anything", Fault::DeletesAlwaysExisted),
    ("a_store_without_a_directory_says_so", Fault::ListsNothing),
    ("a_deleted_session_is_empty", Fault::DeletesNothing),
    ("a_deleted_session_can_start_again", Fault::DeletesTheLog),
    ("a_position_before_a_delete_conflicts", Fault::DeletesTheLog),
    ("a_key_is_known_after_a_delete", Fault::DeletesTheLog),
    ("an_append_is_before_or_after_a_delete", Fault::DeletesLate),
    ("bad_input_leaves_nothing_written", Fault::WritesBadInput),
    ("the_limits_themselves_are_allowed", Fault::RefusesLongKeys),
    ("extreme_numbers_are_answered", Fault::AddsUnchecked),
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
async fn without_a_fault_the_same_store_passes() {
    let report = suite(Fault::None).run_all().await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.passed().count() + report.not_declared().count(), Suite::cases().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_declared_is_reported_and_not_skipped() {
    let data = InMemoryStore::new();
    let declares = Capabilities::all()
        .with_durable(false)
        .with_rewind(false)
        .with_last_activity(None)
        .with_bounded_cost(false)
        .with_entries(false);
    let suite = Suite::new(move || std::future::ready(Ok(Broken::declaring(data.clone(), declares))));
    let report = suite.run_all().await;
    assert!(report.is_ok(), "{report}");
    let lacks = |case: &&Case| case.needs.is_some_and(|needed| needed != Capability::Directory);
    assert_eq!(report.not_declared().count(), Suite::cases().filter(lacks).count());
    assert!(report.to_string().contains("not declared a_rewind_of_a_rewind (Rewind)"), "{report}");
}
