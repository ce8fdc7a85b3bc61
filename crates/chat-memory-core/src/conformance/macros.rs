//! One test per case.

/// Makes one test per case of the conformance suite, and one of the capabilities that the store declares. `suite` is an expression of the type
/// [`Suite`](crate::conformance::Suite), evaluated in each test (it may `.await`); `capabilities` are those that the store is known to have.
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
///         capabilities: Capabilities { durable: false, ..Capabilities::all() },
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
        $crate::conformance_tests! { @names tests [$suite, $capabilities] }
    };
    (@tests [$suite:expr, $capabilities:expr] $($name:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::conformance::Suite::check(&$suite, stringify!($name), $capabilities).await;
            }
        )*
    };
    (@list [] $($name:ident)*) => { [$(stringify!($name)),*] };
    (@names $then:ident $given:tt) => {
        $crate::conformance_tests! {
            @$then $given
            a_new_session_is_empty
            an_append_is_one_record
            a_load_brings_whole_records
            messages_come_back_in_order
            numbers_are_consecutive
            an_append_says_where_it_stands
            only_the_first_append_starts_a_session
            handles_agree
            a_handle_sees_what_others_did_to_its_tail
            sessions_are_apart
            metadata_comes_back
            the_times_of_messages_come_back
            what_was_appended_survives_reopening
            no_append_is_lost_among_many
            the_order_is_that_of_time
            loads_during_appends_see_whole_prefixes
            many_sessions_at_once
            an_expected_position_that_is_true_is_accepted
            a_conflict_writes_nothing_and_names_the_position
            the_position_of_an_empty_log
            a_position_travels_as_text
            a_position_is_no_clock
            a_position_of_another_log_conflicts
            a_position_before_a_clear_conflicts
            one_of_many_at_one_position_wins
            one_of_many_first_writers_wins
            a_repeated_key_is_stored_once
            a_key_with_another_body_is_refused
            a_key_belongs_to_its_session
            a_key_knows_its_body_in_any_field_order
            a_key_used_at_once_is_stored_once
            a_key_is_known_after_a_clear
            a_key_is_known_far_back
            a_key_comes_before_the_position
            a_repeated_clear_clears_once
            a_ticket_of_an_append_that_never_landed_lands_once
            a_ticket_of_an_append_that_landed_is_found
            a_ticket_used_at_once_lands_once
            a_ticket_with_another_body_is_refused
            a_ticket_is_known_after_a_clear
            a_ticket_keeps_its_position
            a_rewind_takes_back_to_any_record
            a_rewind_may_bring_messages
            a_rewind_of_a_rewind
            a_rewind_at_an_old_position_conflicts
            a_rewind_needs_its_record_in_view
            a_rewind_is_stored_once
            one_of_many_rewinds_wins
            a_rewind_does_not_undo_a_clear
            a_turn_is_taken_back_with_its_tools
            the_last_turns_are_taken_back
            a_clear_forgets_everything
            a_clear_of_an_empty_session
            a_clear_takes_effect_before_its_sweep
            a_session_goes_on_after_a_clear
            a_sweep_changes_no_load
            loads_see_all_or_nothing_of_what_is_cleared
            an_append_is_before_or_after_a_clear
            clears_at_once
            a_replacement_is_one_step
            a_clear_heeds_its_position
            text_comes_back_to_the_byte
            numbers_come_back_as_they_are
            number_literals_come_back_as_they_were_read
            unknown_fields_come_back
            tool_calls_come_back
            content_parts_come_back
            every_role_and_known_field_comes_back
            deep_messages_come_back
            random_messages_come_back
            a_message_of_a_megabyte_comes_back
            a_turn_of_three_megabytes_comes_back
            windows_bring_what_was_asked
            turns_are_counted_in_every_form
            windows_follow_rewinds
            windows_end_at_clears
            a_window_says_whether_it_is_all
            an_empty_window_still_says_where_the_log_is
            pages_back_are_the_whole
            pages_back_follow_rewinds
            a_page_before_shows_what_is_in_view_now
            a_load_since_a_number_brings_what_is_new
            a_cursor_travels_as_text
            random_histories_agree_with_the_model
            an_append_costs_the_same_at_any_length
            an_append_with_a_key_costs_the_same_at_any_length
            a_window_costs_the_same_at_any_length
            a_page_costs_the_same_at_any_depth
            a_long_session_loads_whole
            a_session_is_listed_from_its_first_record
            sessions_are_listed_newest_first
            a_session_starts_at_the_time_given
            owners_are_apart
            pages_lose_and_double_nothing
            a_page_goes_on_after_its_session_is_gone
            a_session_can_be_titled_and_described
            a_session_that_is_not_listed_is_none
            a_clear_leaves_the_session_listed
            a_deleted_session_is_not_listed
            bad_titles_and_cursors_are_refused
            every_session_is_listed_whoever_owns_it
            sessions_are_listed_by_last_activity
            pages_by_last_activity_lose_and_double_nothing
            first_appends_at_once_list_a_session_once
            deletes_next_to_appends_leave_one_entry_or_none
            a_repeat_after_a_delete_lists_nothing
            a_store_without_a_directory_says_so
            a_deleted_session_is_empty
            a_delete_says_whether_there_was_anything
            a_deleted_session_can_start_again
            a_position_before_a_delete_conflicts
            a_key_is_known_after_a_delete
            an_append_is_before_or_after_a_delete
            bad_input_leaves_nothing_written
            the_limits_themselves_are_allowed
            extreme_numbers_are_answered
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::conformance::Suite;

    #[test]
    fn the_macro_knows_every_case() {
        let cases: Vec<&str> = Suite::cases().map(|case| case.name).collect();
        let names: Vec<&str> = conformance_tests! { @names list [] }.to_vec();
        assert_eq!(names, cases);
    }
}
