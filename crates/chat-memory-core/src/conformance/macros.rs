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
        async fn declares_its_capabilities() {
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
            append::a_new_session_is_empty: "a session that was never written to loads as an empty history, and loading does not start it",
            append::an_append_is_one_record: "an append is one record: its messages are loaded together and in order (promise 1)",
            append::a_load_brings_whole_records: "a load returns whole records, however little it asks for (promise 1)",
            append::messages_come_back_in_order: "messages are loaded in the order in which they were appended (promise 3)",
            append::numbers_are_consecutive: "records are numbered 0, 1, 2 … without a gap (promise 3)",
            append::an_append_says_where_it_stands: "an append returns the record's number, its time, and the position after it",
            append::only_the_first_append_starts_a_session: "an append reports whether it started the session",
            append::handles_agree: "what one handle appended is visible to all others at once, and all continue with the same numbers (promise 1)",
            append::a_handle_sees_what_others_did_to_its_tail: "an idle handle appends and loads correctly after others wrote, rewound or cleared (promises 3, 5)",
            append::sessions_are_apart: "what is appended to one session appears in no other, however similar their ids are",
            append::metadata_comes_back: "a record's metadata is loaded with it, unchanged (promise 6)",
            append::the_times_of_messages_come_back: "the time given for a message is loaded with it, and an unknown time stays unknown (promise 6)",
            append::what_was_appended_survives_reopening [Durable]: "an append that returned is still there after every handle was closed (promise 1)",
            concurrency::no_append_is_lost_among_many: "8 writers with 25 appends each on four handles: all 200 are stored, once, in one order (promise 4)",
            concurrency::the_order_is_that_of_time: "an append that starts after another returned comes after it, whoever wrote the two (promise 3)",
            concurrency::loads_during_appends_see_whole_prefixes: "a load during appends sees the log as it was at some moment: whole records, none missing before the last (promises 1, 3)",
            concurrency::many_sessions_at_once: "concurrent writers of different sessions do not affect each other",
            position::an_expected_position_that_is_true_is_accepted: "an append at the position of the last load, or of the last append, is written (promise 4)",
            position::a_conflict_writes_nothing_and_names_the_position: "an append at an outdated position is refused, nothing is written, and the position in the error works (promise 4)",
            position::the_position_of_an_empty_log: "the position of an empty log is valid until the first record, and no longer (promise 4)",
            position::a_position_travels_as_text: "a position means the same after conversion to text or on another handle (promise 4)",
            position::a_position_is_no_clock: "a position is the same place whenever it was read: an hour ago, or by a clock that is ahead",
            position::a_position_of_another_log_conflicts: "a position with the right number but another record's id is refused (promise 4)",
            position::a_position_before_a_clear_conflicts: "a clear counts as a write for those who read before it (promise 4)",
            position::one_of_many_at_one_position_wins: "of writers that expect the same position, exactly one is accepted each time (promise 4)",
            position::one_of_many_first_writers_wins: "of writers that expect an empty session, exactly one is accepted (promise 4)",
            key::a_repeated_key_is_stored_once: "an append repeated with its key is stored once, and returns what the first returned (promise 2)",
            key::a_key_with_another_body_is_refused: "the same key with other messages, metadata or rewind is an error, and nothing is written (promise 2)",
            key::a_key_belongs_to_its_session: "the same key in another session is another append",
            key::a_key_knows_its_body_in_any_field_order: "a body whose JSON fields are in another order is the same body",
            key::a_key_used_at_once_is_stored_once: "many concurrent tasks with one key store one record, and all get the same number (promise 2)",
            key::a_key_is_known_after_a_clear: "a repeat after the record was cleared and swept is recognised and restores nothing (promises 2, 5)",
            key::a_key_is_known_far_back: "a repeat is recognised after a hundred later records (promise 2)",
            key::a_key_comes_before_the_position: "a repeat of an append that was stored is recognised, even though its expected position is outdated by now (promise 2)",
            key::a_repeated_clear_clears_once: "a clear repeated with its key does not clear what came after it (promise 2)",
            ticket::a_ticket_of_an_append_that_never_landed_lands_once: "an append that was not stored is stored once when repeated with its ticket, however often (promise 2)",
            ticket::a_ticket_of_an_append_that_landed_is_found: "an append that was stored is found when repeated with its ticket, wherever above the ticket's number it is (promise 2)",
            ticket::a_ticket_used_at_once_lands_once: "many concurrent tasks with one ticket store one record, and all get the same number (promise 2)",
            ticket::a_ticket_with_another_body_is_refused: "a ticket does not store messages other than those it was issued for (promise 2)",
            ticket::a_ticket_is_known_after_a_clear: "an append that was stored and then cleared is found with its ticket and restores nothing (promises 2, 5)",
            ticket::a_ticket_keeps_its_position: "an append repeated with the ticket of one that was not stored still checks its expected position (promise 4)",
            rewind::a_rewind_takes_back_to_any_record [Rewind]: "after a rewind to record k, the view is what it was before k, for each k; the log itself only grows",
            rewind::a_rewind_may_bring_messages [Rewind]: "a rewind with messages puts them in place of what it removes, in one step (promise 1)",
            rewind::a_rewind_of_a_rewind [Rewind]: "what was removed stays removed, even if the rewind itself is removed; rewinds may follow each other",
            rewind::a_rewind_at_an_old_position_conflicts [Rewind]: "a rewind never removes what another writer added in the meantime (promise 4)",
            rewind::a_rewind_needs_its_record_in_view [Rewind]: "a record that the load did not return cannot be removed",
            rewind::a_rewind_is_stored_once [Rewind]: "a rewind repeated with its key is stored once and removes nothing more (promise 2)",
            rewind::one_of_many_rewinds_wins [Rewind]: "of rewinds based on the same history, exactly one is accepted (promise 4)",
            rewind::a_rewind_does_not_undo_a_clear [Rewind]: "what was cleared stays gone, whatever is rewound after it (promise 5)",
            rewind::a_turn_is_taken_back_with_its_tools [Rewind]: "a turn is removed as a whole in every form: no call stays without a result that is in a user's message",
            rewind::the_last_turns_are_taken_back [Rewind]: "turns are removed from their user's message on, even if a record has more than one turn",
            clear::a_clear_forgets_everything: "after a clear, every handle loads an empty, complete history, and the numbers continue (promise 5)",
            clear::a_clear_of_an_empty_session: "clearing an empty session is not an error, and neither is clearing twice",
            clear::a_clear_takes_effect_before_its_sweep: "the clear takes effect with its append: nothing is visible even if the sweep never runs (promise 5)",
            clear::a_session_goes_on_after_a_clear: "appends after a clear are visible, and nothing from before it, for every reach (promise 5)",
            clear::a_sweep_changes_no_load: "a sweep may be repeated or late and never changes what is loaded (promise 5)",
            clear::loads_see_all_or_nothing_of_what_is_cleared: "a load during a clear sees everything or nothing of what it clears (promise 5)",
            clear::an_append_is_before_or_after_a_clear: "an append concurrent with a clear is completely gone or completely there, as its number says (promise 5)",
            clear::clears_at_once: "concurrent clears, sweeps and appends on several handles leave what came after the last clear (promise 5)",
            clear::a_replacement_is_one_step: "replacing all messages is one record: a load sees the old or the new, never both or neither (promises 1, 5)",
            clear::a_clear_heeds_its_position: "a clear with an expected position conflicts if the session was modified since (promise 4)",
            exact::text_comes_back_to_the_byte: "text is loaded byte for byte: emoji, NUL, control characters, empty, any script and direction (promise 6)",
            exact::numbers_come_back_as_they_are: "integers stay integers and floats floats, at every limit, down to the sign of zero (promise 6)",
            exact::number_literals_come_back_as_they_were_read: "a literal that is read as the nearest double is loaded as that double, however it was written (promise 6)",
            exact::unknown_fields_come_back: "unknown fields are loaded unchanged, including nulls, empty lists and empty names (promise 6)",
            exact::tool_calls_come_back: "tool calls and their results are loaded unchanged, arguments byte for byte (promise 6)",
            exact::content_parts_come_back: "content parts are loaded unchanged: text, images, unknown parts, no parts (promise 6)",
            exact::every_role_and_known_field_comes_back: "every role, names, ids, and messages without content are loaded unchanged (promise 6)",
            exact::deep_messages_come_back: "a message nested as deeply as allowed is loaded unchanged (promise 6)",
            exact::random_messages_come_back: "messages of random text, numbers and fields are loaded unchanged (promise 6)",
            exact::a_message_of_a_megabyte_comes_back: "a message of 1 MB is loaded unchanged",
            exact::a_turn_of_three_megabytes_comes_back: "a turn of 3 MB is one record and is loaded unchanged, whole, and once (promises 1, 6)",
            window::windows_bring_what_was_asked: "a load returns at least the last messages, turns or weight that it asks for, in whole records, newest last",
            window::turns_are_counted_in_every_form: "a load of turns counts a user's message that contains a tool's result as part of the turn before it",
            window::windows_follow_rewinds [Rewind]: "a window follows the view, not the log: what was removed does not count",
            window::windows_end_at_clears: "a window never reaches beyond a clear, swept or not (promise 5)",
            window::a_window_says_whether_it_is_all: "a load reports that it is complete exactly if nothing older is left",
            window::an_empty_window_still_says_where_the_log_is: "a load of nothing returns no messages and still gives the position",
            page::pages_back_are_the_whole: "paging backwards from the newest record returns each visible record once, and the last page reports that it is the last",
            page::pages_back_follow_rewinds [Rewind]: "paging follows the view: no page contains what was removed by a rewind",
            page::a_page_before_shows_what_is_in_view_now [Rewind]: "a page continued from an earlier one returns what is visible now: nothing removed or cleared since (promise 5)",
            page::a_load_since_a_number_brings_what_is_new: "a load since a number returns the records with that number or a higher one, and the position",
            page::a_cursor_travels_as_text: "a page's cursor works after conversion to text and on another handle",
            random::random_histories_agree_with_the_model: "any sequence of appends, repeats, rewinds, clears, sweeps and conflicts, on two handles, matches the contract",
            cost::an_append_costs_the_same_at_any_length [BoundedCost]: "an append to a long session costs the same as when the session was short (promise 7)",
            cost::an_append_with_a_key_costs_the_same_at_any_length [BoundedCost]: "an append with an idempotency key to a long session, by a process that wrote there with keys before, costs the same as when the session was short (promise 7)",
            cost::a_window_costs_the_same_at_any_length [BoundedCost]: "a window of a long session costs the same as when the session was short (promise 7)",
            cost::a_page_costs_the_same_at_any_depth [BoundedCost]: "a page far from the end of a long session costs the same as one near its end (promise 7)",
            cost::a_long_session_loads_whole: "one load returns 1,500 records, each once and in order (promises 3, 8)",
            directory::a_session_is_listed_from_its_first_record [Directory]: "a session's first append lists it, with its owner, title and time; later appends do not change the entry",
            directory::sessions_are_listed_newest_first [Directory]: "the sessions of an owner are listed newest first",
            directory::a_session_starts_at_the_time_given [Directory]: "a session whose start time was given reports that time and is listed by it",
            directory::owners_are_apart [Directory]: "each owner's list, and the list of unowned sessions, contain only their own sessions",
            directory::pages_lose_and_double_nothing [Directory]: "across pages, every session is listed once, even while new ones are added",
            directory::a_page_goes_on_after_its_session_is_gone [Directory]: "a listing continues even if the session at which the page ended was deleted in the meantime",
            directory::a_session_can_be_titled_and_described [Directory]: "title and metadata can be set, replaced and removed independently, and are loaded unchanged",
            directory::a_session_that_is_not_listed_is_none [Directory]: "a session that was never written to has no directory entry and cannot be updated",
            directory::a_clear_leaves_the_session_listed [Directory]: "a session that was cleared keeps its place, title and owner",
            directory::a_deleted_session_is_not_listed [Directory]: "a deleted session is not listed, and one that starts again is listed as a new one",
            directory::bad_titles_and_cursors_are_refused [Directory]: "a title that is too long, metadata that is too large or too deep, and a foreign cursor are errors and change nothing",
            directory::every_session_is_listed_whoever_owns_it [Directory]: "a list of all sessions has each of them once, whoever owns it, and no deleted one",
            directory::sessions_are_listed_by_last_activity [LastActivity]: "the sessions of an owner are listed by last activity, to the precision that the store declares",
            directory::pages_by_last_activity_lose_and_double_nothing [LastActivity]: "across pages by last activity, unchanged sessions are listed once, and sessions written to in the meantime at most once",
            directory::first_appends_at_once_list_a_session_once [Directory]: "a session started by many concurrent appends, with one key, separate keys or one ticket, is listed once",
            directory::deletes_next_to_appends_leave_one_entry_or_none [Directory]: "after any concurrent appends and deletes, a session with messages is listed once, and a delete leaves no entry",
            directory::a_repeat_after_a_delete_lists_nothing [Directory]: "a repeat of an append that was deleted since does not list the session again",
            directory::a_store_without_a_directory_says_so: "a store without a directory reports that it is unsupported, and never returns an empty list instead (promise 8)",
            delete::a_deleted_session_is_empty: "a deleted session loads as an empty history on every handle, and deleting it again, or one that never existed, is not an error",
            delete::a_delete_says_whether_there_was_anything: "a delete reports that the session existed; a repeat, or a delete of a session that never existed, reports that it did not",
            delete::a_deleted_session_can_start_again: "appends after a delete are visible, and nothing from before it; no number is used twice (promise 3)",
            delete::a_position_before_a_delete_conflicts: "a position from before a delete never matches the log after it (promise 4)",
            delete::a_key_is_known_after_a_delete: "a repeat of an append that was deleted since is recognised and restores nothing (promise 2)",
            delete::an_append_is_before_or_after_a_delete: "an append concurrent with a delete is completely gone or completely there, and not lost if it came after (promises 4, 5)",
            entry::other_entries_come_back [Entries]: "entries that are not messages are loaded unchanged, in order, between messages and alone (promise 6)",
            entry::windows_pass_over_other_entries [Entries]: "other entries count in no window, and a load returns them with their record (promise 6)",
            entry::other_entries_keep_their_place_and_time [Entries]: "other entries have times, are repeated by key and ticket, and stay before a turn that is taken back (promises 2, 6)",
            entry::other_entries_are_stored_or_refused: "a store that holds messages only refuses other entries as unsupported and writes nothing; any other stores them (promise 8)",
            entry::an_id_is_stored_once: "entries with an id are appended once, inside an append and across overlapping ones, and those without an id each time (promise 2)",
            entry::an_id_with_another_body_is_refused: "an entry with a known id and another body is an error that names the id, and nothing is written (promise 2)",
            entry::a_cleared_id_may_be_appended_again: "an entry whose id was cleared may be appended again",
            entry::overlapping_batches_at_once_store_each_id_once: "8 concurrent writers of overlapping batches store each id once (promises 2, 4)",
            input::bad_input_leaves_nothing_written: "an invalid append is refused as invalid, before or after others, and writes nothing (promise 8)",
            input::the_limits_themselves_are_allowed: "the longest key, title and session id are accepted",
            input::extreme_numbers_are_answered: "windows, pages, positions and tickets with extreme numbers return what exists, a conflict, or invalid",
        }
    };
}
