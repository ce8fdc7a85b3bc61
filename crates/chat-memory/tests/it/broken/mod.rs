//! Stores that each break one promise: the in-memory store with one fault.

// A panic here ends the test, as intended.
#![allow(clippy::unwrap_used)]

mod append;
mod load;
mod store;

pub use store::Broken;

macro_rules! faults {
    ($($(#[$docs:meta])* $name:ident,)*) => {
        /// The fault of a store.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $($(#[$docs])* $name,)* }

        impl Fault {
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

faults! {
    None,
    /// Does unchecked arithmetic on a caller's numbers.
    AddsUnchecked,
    /// Loses the last message of an append with several.
    DropsLastMessage,
    DropsOtherEntries,
    /// Splits an append with several messages into as many records.
    SplitsAppends,
    /// Acknowledges every tenth append without writing it.
    LosesSome,
    /// Returns messages in another order.
    Reverses,
    /// Returns append numbers that are one too high.
    WrongNumbers,
    /// Reports every append as the start of the session.
    AlwaysStarts,
    /// Does not see other handles' writes once a session was loaded.
    StaleHandles,
    /// Writes to an empty session on its first load.
    LoadsWrite,
    /// Compares session ids case-insensitively.
    IgnoresCase,
    /// Keeps everything in one session.
    OneSession,
    /// Loses metadata.
    DropsMetadata,
    /// Loses the times of messages.
    DropsTimes,
    /// Starts a session when its first record is written, ignoring the given time.
    StartsNow,
    /// Loses everything when the last handle is dropped.
    Forgets,
    /// Returns descending append numbers.
    OutOfOrder,
    /// Ignores expected positions.
    IgnoresPositions,
    /// Appends several records one after another.
    ForksOneByOne,
    /// Takes any session for one that a fork may create.
    ForksBlindly,
    /// Leaves out the last of several records.
    ForksDropLast,
    /// Forgets where a fork comes from.
    ForksWithoutOrigin,
    /// Says that it redacted, and changes nothing.
    RedactsNothing,
    /// Redacts all messages of a record.
    RedactsRecords,
    /// Says each time that it changed something.
    RedactsAgain,
    /// Redacts the first record in place of one that is not there.
    RedactsAnything,
    /// Checks only the number of an expected position.
    IgnoresPositionIds,
    /// Refuses a position that was not read in the last minutes.
    OldPositionsConflict,
    /// Refuses every expected position.
    AlwaysConflicts,
    /// Reports a conflict but writes the append nevertheless.
    WritesOnConflict,
    /// Ignores idempotency keys.
    IgnoresKeys,
    /// Takes a key with another body for a repeat.
    IgnoresBodies,
    /// Shares keys between all sessions.
    GlobalKeys,
    /// Compares bodies as text.
    ComparesText,
    /// Looks for keys only in the last fifty records.
    ShortMemory,
    /// Forgets the keys and tickets of cleared records.
    ForgetsCleared,
    /// Checks the position before the key.
    PositionBeforeKey,
    /// Ignores tickets.
    IgnoresTickets,
    /// Looks for a ticket only at its lowest number.
    TicketsDoNotSearch,
    /// Ignores the expected position of an append with a ticket.
    TicketsIgnorePositions,
    /// Keeps one record too many in a rewind.
    RewindsTooLittle,
    /// Loses a rewind's own messages.
    RewindsDropMessages,
    /// Removes nothing in a rewind.
    IgnoresRewinds,
    /// Brings back what another rewind or a clear had hidden.
    RewindsUndo,
    /// Keeps the last record in a clear.
    ClearsHalf,
    /// Hides records one by one in a clear.
    ClearsSlowly,
    /// Also clears what is appended shortly after the clear.
    ClearsTwice,
    /// Applies a clear only when it sweeps.
    ClearsLate,
    /// Returns an error for a clear of an empty session.
    RefusesEmptyClears,
    /// Also sweeps what came after the clear.
    SweepsTooMuch,
    /// Replaces everything by a clear and a separate append.
    ReplacesInTwoSteps,
    /// Loses NUL characters.
    DropsNul,
    /// Turns whole floats into integers.
    RoundsNumbers,
    /// Loses null fields.
    DropsNulls,
    /// Parses and rewrites the arguments of tool calls.
    NormalisesArguments,
    /// Replaces content parts with their text.
    FlattensParts,
    /// Loses names.
    DropsIds,
    DropsNames,
    /// Loses what is nested deeper than fifty levels.
    CutsDepth,
    /// Truncates text at half a megabyte.
    CutsText,
    /// Truncates a record at two megabytes.
    CutsRecords,
    /// Returns windows that are one record short.
    ShortWindows,
    /// Cuts windows to the message.
    TornWindows,
    /// Follows the log instead of the view in windows.
    WindowsCountHidden,
    WindowsCountEntries,
    /// Returns windows that reach beyond clears.
    WindowsReachBehindClears,
    /// Reports every load as complete.
    AlwaysComplete,
    /// Reports no load as complete.
    NeverComplete,
    /// Returns no position for a load of nothing.
    NoPositionOfNothing,
    /// Returns the same page again as the page before it.
    PagesStandStill,
    /// Returns removed records in older pages.
    PagesShowTakenBack,
    /// Leaves the record with the given number out of a load since it.
    SinceForgetsOne,
    /// Charges a page for everything newer than it.
    CostsDepth,
    /// Charges an operation for the session's length.
    CostsLength,
    /// Returns at most a thousand records per load.
    ThousandAtMost,
    /// Lists sessions oldest first.
    OldestFirst,
    /// Sorts every list by start, whatever the query requests.
    ListsByStart,
    /// Lists each session twice.
    ListsTwice,
    /// Returns the list of unowned sessions for every owner.
    SharedLists,
    /// Lists nothing.
    ListsNothing,
    /// Finds nothing.
    FindsNothing,
    /// Finds what was taken back or cleared.
    FindsHidden,
    /// Searches the sessions of all owners.
    FindsOthers,
    /// Finds the last hit of a page again on the next one.
    FindsTwice,
    /// Searches all times.
    FindsAllTimes,
    /// Takes any cursor.
    FindsByAnyCursor,
    /// Leaves sessions with an owner out of the list of all sessions.
    ListsNobodysOnly,
    /// Loses the first session of each page but the first.
    PagesLose,
    /// Continues a list only if the session at the end of the page still exists.
    PagesNeedTheirSession,
    /// Sets titles but not metadata.
    UpdatesHalf,
    /// Lists an unlisted session when it is updated.
    UpdatesList,
    /// Removes a session from the directory when it is cleared.
    ClearsUnlist,
    /// Lists the first words that a session ever had, whatever became of them.
    OldFirstWords,
    /// Counts a record too many in the list.
    CountsTooMany,
    /// Reads what is under a session's id now, whichever session was listed.
    ReadsAnothers,
    /// Lists the sessions without an owner for those of any owner.
    ListsNobodysForAll,
    /// Leaves a deleted session in the directory.
    DeletesKeepListed,
    /// Reports every deleted session as having existed.
    DeletesAlwaysExisted,
    /// Clears nothing in a delete.
    DeletesNothing,
    /// Restarts the log in a delete.
    DeletesTheLog,
    /// Deletes what was appended during the delete, even if acknowledged.
    DeletesLate,
    /// Does not check titles.
    AcceptsTitles,
    /// Refuses keys of a thousand bytes.
    RefusesLongKeys,
    /// Refuses bad input after writing it.
    WritesBadInput,
}
