//! One test per case.

/// Generates one test per case of the conformance suite, and one for the capabilities that the store declares. `suite` is an
/// expression of type [`Suite`](crate::conformance::Suite), evaluated in each test (it may `.await`); `capabilities` are those
/// that the store is expected to have.
///
/// ```
/// mod in_memory {
///     use chat_memory::conformance::Suite;
///     use chat_memory::store::{Capabilities, InMemoryStore};
///
///     fn suite() -> Suite {
///         let data = InMemoryStore::new();
///         Suite::new(move || std::future::ready(Ok(data.clone())))
///     }
///
///     chat_memory::conformance_tests! {
///         suite: suite(),
///         capabilities: Capabilities::all().with_durable(false),
///     }
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    (suite: $suite:expr, capabilities: $capabilities:expr $(,)?) => {
        #[::tokio::test(flavor = "multi_thread")]
        async fn declared_capabilities_are_as_expected() {
            $crate::conformance::Suite::check_capabilities(&$suite, $capabilities).await;
        }
        $crate::conformance_tests! { @cases tests [$suite, $capabilities] }
    };
    (@tests [$suite:expr, $capabilities:expr] $($module:ident::$name:ident $([$needs:ident])?: $promise:literal,)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::conformance::Suite::check(&$suite, stringify!($name), $capabilities).await;
            }
        )*
    };
    (@table [] $($module:ident::$name:ident $([$needs:ident])?: $promise:literal,)*) => {
        &[$($crate::conformance::Case {
            name: stringify!($name),
            promise: $promise,
            needs: $crate::conformance_tests!(@needs $($needs)?),
            run: |context| Box::pin($module::$name(context)),
        }),*]
    };
    (@needs) => { None };
    (@needs $needs:ident) => { Some($crate::conformance::Capability::$needs) };
    // Every case: its function, the capability that it needs, and the promise that it proves.
    (@cases $then:ident $given:tt) => {
        $crate::conformance_tests! {
            @$then $given
            append::new_session_is_empty: "a session that was never written to loads as an empty history, and loading does not start it",
            append::append_is_one_record: "an append is one record: its messages are loaded together and in order (promise 1)",
            append::load_returns_whole_records: "a load returns whole records, however little it asks for (promise 1)",
            append::messages_load_in_append_order: "messages are loaded in the order in which they were appended (promise 3)",
            append::record_numbers_are_consecutive: "records are numbered 0, 1, 2 … without a gap (promise 3)",
            append::append_returns_number_time_and_position: "an append returns the record's number, its time, and the position after it",
            append::only_the_first_append_reports_a_started_session: "an append reports whether it started the session",
            append::appends_are_visible_on_every_handle: "what one handle appended is visible to all others at once, and all continue with the same numbers (promise 1)",
            append::idle_handle_follows_writes_of_others: "an idle handle appends and loads correctly after others wrote, rewound or cleared (promises 3, 5)",
            append::similar_session_ids_stay_separate: "what is appended to one session appears in no other, however similar their ids are",
            append::metadata_round_trips: "a record's metadata is loaded with it, unchanged (promise 6)",
            append::message_times_round_trip: "the time given for a message is loaded with it, and an unknown time stays unknown (promise 6)",
            append::acknowledged_append_survives_reopening [Durable]: "an append that returned is still there after every handle was closed (promise 1)",
            concurrency::concurrent_appends_are_all_stored_once: "8 writers with 25 appends each on four handles: all 200 are stored, once, in one order (promise 4)",
            concurrency::append_order_follows_real_time: "an append that starts after another returned comes after it, whoever wrote the two (promise 3)",
            concurrency::concurrent_loads_see_whole_prefixes: "a load during appends sees the log as it was at some moment: whole records, none missing before the last (promises 1, 3)",
            concurrency::concurrent_writers_of_different_sessions_do_not_interfere: "concurrent writers of different sessions do not affect each other",
            position::current_position_is_accepted: "an append at the position of the last load, or of the last append, is written (promise 4)",
            position::conflict_writes_nothing_and_carries_the_current_position: "an append at an outdated position is refused, nothing is written, and the position in the error works (promise 4)",
            position::position_of_an_empty_log_is_valid_until_the_first_record: "the position of an empty log is valid until the first record, and no longer (promise 4)",
            position::position_survives_conversion_to_text: "a position means the same after conversion to text or on another handle (promise 4)",
            position::position_ignores_the_time_it_was_read: "a position is the same place whenever it was read: an hour ago, or by a clock that is ahead",
            position::position_of_another_log_conflicts: "a position with the right number but another record's id is refused (promise 4)",
            position::position_from_before_a_clear_conflicts: "a clear counts as a write for those who read before it (promise 4)",
            position::one_of_many_appends_at_one_position_wins: "of writers that expect the same position, exactly one is accepted each time (promise 4)",
            position::one_of_many_first_appends_wins: "of writers that expect an empty session, exactly one is accepted (promise 4)",
            key::repeated_key_is_stored_once: "an append repeated with its key is stored once, and returns what the first returned (promise 2)",
            key::key_with_another_body_is_refused: "the same key with other messages, metadata or rewind is an error, and nothing is written (promise 2)",
            key::key_applies_to_its_session_only: "the same key in another session is another append",
            key::key_ignores_the_field_order_of_its_body: "a body whose JSON fields are in another order is the same body",
            key::key_used_concurrently_is_stored_once: "many concurrent tasks with one key store one record, and all get the same number (promise 2)",
            key::key_is_recognised_after_a_clear: "a repeat after the record was cleared and swept is recognised and restores nothing (promises 2, 5)",
            key::key_is_recognised_after_many_records: "a repeat is recognised after a hundred later records (promise 2)",
            key::repeated_key_wins_over_an_outdated_position: "a repeat of an append that was stored is recognised, even though its expected position is outdated by now (promise 2)",
            key::repeated_clear_clears_once: "a clear repeated with its key does not clear what came after it (promise 2)",
            ticket::ticket_of_an_unstored_append_stores_it_once: "an append that was not stored is stored once when repeated with its ticket, however often (promise 2)",
            ticket::ticket_finds_its_stored_append: "an append that was stored is found when repeated with its ticket, wherever above the ticket's number it is (promise 2)",
            ticket::ticket_used_concurrently_stores_once: "many concurrent tasks with one ticket store one record, and all get the same number (promise 2)",
            ticket::ticket_with_another_body_is_refused: "a ticket does not store messages other than those it was issued for (promise 2)",
            ticket::ticket_is_recognised_after_a_clear: "an append that was stored and then cleared is found with its ticket and restores nothing (promises 2, 5)",
            ticket::ticket_still_checks_the_expected_position: "an append repeated with the ticket of one that was not stored still checks its expected position (promise 4)",
            rewind::rewind_restores_the_view_before_any_record [Rewind]: "after a rewind to record k, the view is what it was before k, for each k; the log itself only grows",
            rewind::rewind_replaces_messages_in_one_step [Rewind]: "a rewind with messages puts them in place of what it removes, in one step (promise 1)",
            rewind::rewinding_a_rewind_restores_nothing [Rewind]: "what was removed stays removed, even if the rewind itself is removed; rewinds may follow each other",
            rewind::rewind_at_an_outdated_position_conflicts [Rewind]: "a rewind never removes what another writer added in the meantime (promise 4)",
            rewind::rewind_to_a_record_not_in_view_is_refused [Rewind]: "a record that the load did not return cannot be removed",
            rewind::repeated_rewind_is_stored_once [Rewind]: "a rewind repeated with its key is stored once and removes nothing more (promise 2)",
            rewind::one_of_many_concurrent_rewinds_wins [Rewind]: "of rewinds based on the same history, exactly one is accepted (promise 4)",
            rewind::rewind_does_not_undo_a_clear [Rewind]: "what was cleared stays gone, whatever is rewound after it (promise 5)",
            rewind::turn_is_removed_with_its_tool_calls [Rewind]: "a turn is removed as a whole in every form: no call stays without a result that is in a user's message",
            rewind::last_turns_are_removed_even_within_a_record [Rewind]: "turns are removed from their user's message on, even if a record has more than one turn",
            clear::clear_empties_the_session_on_every_handle: "after a clear, every handle loads an empty, complete history, and the numbers continue (promise 5)",
            clear::clear_of_an_empty_session_succeeds: "clearing an empty session is not an error, and neither is clearing twice",
            clear::clear_takes_effect_before_its_sweep: "the clear takes effect with its append: nothing is visible even if the sweep never runs (promise 5)",
            clear::only_appends_after_a_clear_are_visible: "appends after a clear are visible, and nothing from before it, for every reach (promise 5)",
            clear::sweep_never_changes_a_load: "a sweep may be repeated or late and never changes what is loaded (promise 5)",
            clear::load_during_a_clear_sees_all_or_nothing: "a load during a clear sees everything or nothing of what it clears (promise 5)",
            clear::append_is_ordered_before_or_after_a_clear: "an append concurrent with a clear is completely gone or completely there, as its number says (promise 5)",
            clear::concurrent_clears_keep_what_follows_the_last: "concurrent clears, sweeps and appends on several handles leave what came after the last clear (promise 5)",
            clear::replacement_is_one_step: "replacing all messages is one record: a load sees the old or the new, never both or neither (promises 1, 5)",
            clear::clear_at_an_outdated_position_conflicts: "a clear with an expected position conflicts if the session was modified since (promise 4)",
            exact::text_round_trips_byte_for_byte: "text is loaded byte for byte: emoji, NUL, control characters, empty, any script and direction (promise 6)",
            exact::numbers_round_trip_exactly: "integers stay integers and floats floats, at every limit, down to the sign of zero (promise 6)",
            exact::number_literals_round_trip_as_the_nearest_double: "a literal that is read as the nearest double is loaded as that double, however it was written (promise 6)",
            exact::unknown_fields_round_trip: "unknown fields are loaded unchanged, including nulls, empty lists and empty names (promise 6)",
            exact::tool_calls_round_trip: "tool calls and their results are loaded unchanged, arguments byte for byte (promise 6)",
            exact::content_parts_round_trip: "content parts are loaded unchanged: text, images, unknown parts, no parts (promise 6)",
            exact::every_role_and_known_field_round_trips: "every role, names, ids, and messages without content are loaded unchanged (promise 6)",
            exact::deeply_nested_messages_round_trip: "a message nested as deeply as allowed is loaded unchanged (promise 6)",
            exact::random_messages_round_trip: "messages of random text, numbers and fields are loaded unchanged (promise 6)",
            exact::one_megabyte_message_round_trips: "a message of 1 MB is loaded unchanged",
            exact::three_megabyte_turn_round_trips_as_one_record: "a turn of 3 MB is one record and is loaded unchanged, whole, and once (promises 1, 6)",
            window::windows_return_at_least_what_was_requested: "a load returns at least the last messages, turns or weight that it asks for, in whole records, newest last",
            window::turns_are_counted_in_every_message_form: "a load of turns counts a user's message that contains a tool's result as part of the turn before it",
            window::windows_exclude_rewound_records [Rewind]: "a window follows the view, not the log: what was removed does not count",
            window::windows_never_reach_past_a_clear: "a window never reaches beyond a clear, swept or not (promise 5)",
            window::window_reports_whether_it_is_complete: "a load reports that it is complete exactly if nothing older is left",
            window::empty_window_still_returns_the_position: "a load of nothing returns no messages and still gives the position",
            page::backward_pages_return_every_record_once: "paging backwards from the newest record returns each visible record once, and the last page reports that it is the last",
            page::backward_pages_exclude_rewound_records [Rewind]: "paging follows the view: no page contains what was removed by a rewind",
            page::continued_page_shows_only_currently_visible_records [Rewind]: "a page continued from an earlier one returns what is visible now: nothing removed or cleared since (promise 5)",
            page::load_since_a_number_returns_newer_records: "a load since a number returns the records with that number or a higher one, and the position",
            page::page_cursor_survives_conversion_to_text: "a page's cursor works after conversion to text and on another handle",
            random::random_histories_match_the_model: "any sequence of appends, repeats, rewinds, clears, sweeps and conflicts, on two handles, matches the contract",
            cost::append_costs_the_same_at_any_length [BoundedCost]: "an append to a long session costs the same as when the session was short (promise 7)",
            cost::append_with_a_key_costs_the_same_at_any_length [BoundedCost]: "an append with an idempotency key to a long session, by a process that wrote there with keys before, costs the same as when the session was short (promise 7)",
            cost::window_costs_the_same_at_any_length [BoundedCost]: "a window of a long session costs the same as when the session was short (promise 7)",
            cost::page_costs_the_same_at_any_depth [BoundedCost]: "a page far from the end of a long session costs the same as one near its end (promise 7)",
            cost::long_session_loads_whole: "one load returns 1,500 records, each once and in order (promises 3, 8)",
            directory::session_is_listed_from_its_first_record [Directory]: "a session's first append lists it, with its owner, title and time; later appends do not change the entry",
            directory::sessions_are_listed_newest_first [Directory]: "the sessions of an owner are listed newest first",
            directory::session_is_listed_by_its_given_start_time [Directory]: "a session whose start time was given reports that time and is listed by it",
            directory::each_owner_lists_only_its_own_sessions [Directory]: "each owner's list, and the list of unowned sessions, contain only their own sessions",
            directory::pages_list_every_session_once [Directory]: "across pages, every session is listed once, even while new ones are added",
            directory::listing_continues_after_its_last_session_is_deleted [Directory]: "a listing continues even if the session at which the page ended was deleted in the meantime",
            directory::title_and_metadata_are_updated_independently [Directory]: "title and metadata can be set, replaced and removed independently, and are loaded unchanged",
            directory::unlisted_session_has_no_entry_and_cannot_be_updated [Directory]: "a session that was never written to has no directory entry and cannot be updated",
            directory::cleared_session_stays_listed [Directory]: "a session that was cleared keeps its place, title and owner",
            directory::deleted_session_is_not_listed [Directory]: "a deleted session is not listed, and one that starts again is listed as a new one",
            directory::invalid_titles_metadata_and_cursors_are_refused [Directory]: "a title that is too long, metadata that is too large or too deep, and a foreign cursor are errors and change nothing",
            directory::list_of_all_sessions_covers_every_owner [Directory]: "a list of all sessions has each of them once, whoever owns it, and no deleted one",
            directory::sessions_are_listed_by_last_activity [LastActivity]: "the sessions of an owner are listed by last activity, to the precision that the store declares",
            directory::pages_by_last_activity_list_unchanged_sessions_once [LastActivity]: "across pages by last activity, unchanged sessions are listed once, and sessions written to in the meantime at most once",
            directory::listed_records_and_first_words_are_those_in_view [Directory]: "a list that shows the number of records and the first words shows no more records than there were, and no words that were taken back, cleared or deleted (promise 5)",
            directory::sessions_of_all_owners_are_listed_in_one_order [AnyOwner]: "the sessions of all owners and without one are listed in one order, by start or by last activity, page by page",
            directory::contents_are_those_of_the_listed_session [Directory]: "what is read of a listed session is the number of records that it has and the first words in view, never those of another session under its id, and nothing if it was deleted (promise 5)",
            directory::concurrent_first_appends_list_the_session_once [Directory]: "a session started by many concurrent appends, with one key, separate keys or one ticket, is listed once",
            directory::concurrent_deletes_and_appends_leave_one_entry_or_none [Directory]: "after any concurrent appends and deletes, a session with messages is listed once, and a delete leaves no entry",
            directory::repeat_after_a_delete_does_not_list_the_session [Directory]: "a repeat of an append that was deleted since does not list the session again",
            directory::store_without_a_directory_reports_unsupported: "a store without a directory reports that it is unsupported, and never returns an empty list instead (promise 8)",
            delete::deleted_session_is_empty: "a deleted session loads as an empty history on every handle, and deleting it again, or one that never existed, is not an error",
            delete::delete_reports_whether_the_session_existed: "a delete reports that the session existed; a repeat, or a delete of a session that never existed, reports that it did not",
            delete::deleted_session_can_be_restarted: "appends after a delete are visible, and nothing from before it; no number is used twice (promise 3)",
            delete::position_from_before_a_delete_conflicts: "a position from before a delete never matches the log after it (promise 4)",
            delete::key_is_recognised_after_a_delete: "a repeat of an append that was deleted since is recognised and restores nothing (promise 2)",
            delete::append_is_ordered_before_or_after_a_delete: "an append concurrent with a delete is completely gone or completely there, and not lost if it came after (promises 4, 5)",
            entry::other_entries_come_back [Entries]: "entries that are not messages are loaded unchanged, in order, between messages and alone (promise 6)",
            entry::windows_pass_over_other_entries [Entries]: "other entries count in no window, and a load returns them with their record (promise 6)",
            entry::other_entries_keep_their_place_and_time [Entries]: "other entries have times, are repeated by key and ticket, and stay before a turn that is taken back (promises 2, 6)",
            entry::other_entries_are_stored_or_refused: "a store that holds messages only refuses other entries as unsupported and writes nothing; any other stores them (promise 8)",
            entry::an_id_is_stored_once: "entries with an id are appended once, inside an append and across overlapping ones, and those without an id each time (promise 2)",
            entry::an_id_with_another_body_is_refused: "an entry with a known id and another body is an error that names the id, and nothing is written (promise 2)",
            entry::a_cleared_id_may_be_appended_again: "an entry whose id was cleared may be appended again",
            entry::remembered_ids_follow_other_writers: "which ids are new follows what another handle appended, rewound, replaced, cleared or deleted in the meantime (promise 4)",
            entry::overlapping_batches_at_once_store_each_id_once: "8 concurrent writers of overlapping batches store each id once (promises 2, 4)",
            search::search_finds_messages_with_all_words: "a search of a session finds its messages that have all words, in any case and order, and marks them",
            search::search_finds_only_what_a_load_returns: "nothing that was taken back, cleared or deleted is found, swept or not, and everything else is (promise 5)",
            search::search_finds_sessions_by_title_id_and_owner [Directory]: "a search finds sessions by their current title, id and owner, and keeps to the given owner",
            search::search_pages_have_every_hit_once [Directory]: "across pages of a search, whatever ends them, every hit comes once",
            search::search_keeps_to_the_given_time: "a search of a time finds what was sent in it",
            search::invalid_search_is_refused: "a search for nothing, and a cursor of another search, are refused as invalid",
            fork::records_are_appended_together [Fork]: "several records that are appended together are numbered in order, or none of them is written (promises 1, 3, 4)",
            fork::records_appended_together_are_stored_once [Fork]: "records that are appended together are stored once, whoever repeats them by key or ticket (promise 2)",
            fork::fork_copies_what_is_visible [Fork]: "a fork has what its source showed up to any record, with metadata and times, and nothing that was taken back or cleared (promise 6)",
            fork::fork_and_source_do_not_affect_each_other [Fork]: "a fork is a copy: appends, rewinds, clears and deletes of one do not change the other",
            fork::fork_into_an_existing_session_conflicts [Fork]: "a fork into a session that exists is a conflict and writes nothing; a deleted one is free again (promise 4)",
            fork::load_during_a_fork_sees_all_or_nothing [Fork]: "a load during a fork sees all of it or nothing (promise 1)",
            fork::one_of_many_concurrent_forks_wins [Fork]: "of concurrent forks into one session, exactly one is made (promise 4)",
            fork::repeated_fork_is_made_once [Fork]: "a fork repeated with its key is made once (promise 2)",
            fork::fork_is_listed_with_its_origin [Directory]: "a fork is listed with its owner, its title, its source's metadata and its origin",
            redact::redacted_message_is_replaced_in_its_place [Redact]: "a redaction replaces one message, or all of a record, on every handle; its number, time, id, metadata and neighbours stay",
            redact::redacted_calls_keep_their_results [Redact]: "a redacted call and a redacted result still belong together, in every form",
            redact::repeated_redaction_changes_nothing [Redact]: "a redaction that is repeated, or only tried, changes nothing and says so",
            redact::hidden_record_is_redacted_or_erased [Redact]: "a record that was taken back or cleared is redacted, or reported as erased",
            redact::redaction_of_what_is_not_there_is_refused [Redact]: "a redaction of a record or message that is not there, and an invalid one, are refused and change nothing",
            redact::repeat_of_a_redacted_append_is_recognised [Redact]: "a repeat of an append that was redacted since, by key, ticket or the ids of its entries, is recognised and restores nothing (promise 2)",
            redact::redacted_text_is_not_found [Redact]: "a search finds a redacted text no more, and its neighbours still",
            redact::large_record_is_redacted [Redact]: "a message of a large record is redacted, and the others are loaded unchanged",
            redact::redactions_at_once_all_hold [Redact]: "concurrent redactions of one record, and appends, all take effect, and every load sees each message as it was or redacted (promises 1, 4)",
            owner::sessions_of_an_owner_are_deleted [Directory]: "all sessions of an owner are deleted, in parts or at once, reported one by one, and none of another's",
            input::invalid_input_writes_nothing: "an invalid append is refused as invalid, before or after others, and writes nothing (promise 8)",
            input::values_at_the_limits_are_accepted: "the longest key, title and session id are accepted",
            input::extreme_numbers_get_a_defined_outcome: "windows, pages, positions and tickets with extreme numbers return what exists, a conflict, or invalid",
        }
    };
}
