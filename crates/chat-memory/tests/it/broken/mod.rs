//! Stores that break a promise, each in one way: the in-memory store with one fault.

// A panic here ends the test, as it should.
#![allow(clippy::unwrap_used)]

mod append;
mod load;
mod store;

pub use store::Broken;

macro_rules! faults {
    ($($(#[$docs:meta])* $name:ident,)*) => {
        /// What is wrong with a store.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $($(#[$docs])* $name,)* }

        impl Fault {
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

faults! {
    None,
    /// Numbers from a caller are added to without a look.
    AddsUnchecked,
    /// Of an append of several messages, the last is lost.
    DropsLastMessage,
    /// An append of several messages becomes as many records.
    SplitsAppends,
    /// Every tenth append is acknowledged and not written.
    LosesSome,
    /// Messages come back in another order.
    Reverses,
    /// The numbers that appends return are one too high.
    WrongNumbers,
    /// An append always says that it started the session.
    AlwaysStarts,
    /// What other handles wrote is not seen once a session was loaded.
    StaleHandles,
    /// The first load of an empty session writes to it.
    LoadsWrite,
    /// Session ids are compared without case.
    IgnoresCase,
    /// Everything is in one session.
    OneSession,
    /// Metadata is lost.
    DropsMetadata,
    /// The times of messages are lost.
    DropsTimes,
    /// A session starts when its first record is written, whatever it is told.
    StartsNow,
    /// What was stored is gone when the last handle is.
    Forgets,
    /// The numbers that appends return go down.
    OutOfOrder,
    /// Expected positions are not looked at.
    IgnoresPositions,
    /// Only the number of an expected position is looked at.
    IgnoresPositionIds,
    /// A position is refused when it was not read in the last minutes.
    OldPositionsConflict,
    /// Every expected position is refused.
    AlwaysConflicts,
    /// A conflict is an error, and is written all the same.
    WritesOnConflict,
    /// Idempotency keys are not looked at.
    IgnoresKeys,
    /// A key with another body is taken for a repeat.
    IgnoresBodies,
    /// A key used in one session is used in all.
    GlobalKeys,
    /// Bodies are the same only if their texts are.
    ComparesText,
    /// Keys are looked for in the last fifty records only.
    ShortMemory,
    /// Keys and tickets of what was cleared are not known.
    ForgetsCleared,
    /// The position is looked at before the key.
    PositionBeforeKey,
    /// Tickets are not looked at.
    IgnoresTickets,
    /// Tickets are looked for at their lowest number only.
    TicketsDoNotSearch,
    /// An append through a ticket does not heed its position.
    TicketsIgnorePositions,
    /// A rewind keeps one record more than it should.
    RewindsTooLittle,
    /// A rewind's own messages are lost.
    RewindsDropMessages,
    /// A rewind takes nothing back.
    IgnoresRewinds,
    /// A rewind brings back what another, or a clear, had hidden.
    RewindsUndo,
    /// A clear leaves the last record.
    ClearsHalf,
    /// A clear hides one record after the other.
    ClearsSlowly,
    /// A clear takes what is appended shortly after it, too.
    ClearsTwice,
    /// A clear takes effect with its sweep.
    ClearsLate,
    /// A clear of an empty session is an error.
    RefusesEmptyClears,
    /// A sweep takes what came after the clear, too.
    SweepsTooMuch,
    /// A replacement of all is a clear and an append.
    ReplacesInTwoSteps,
    /// NUL characters are lost.
    DropsNul,
    /// Floats that are whole become integers.
    RoundsNumbers,
    /// Fields that are null are lost.
    DropsNulls,
    /// The arguments of tool calls are parsed and written anew.
    NormalisesArguments,
    /// Content of parts becomes their text.
    FlattensParts,
    /// Names are lost.
    DropsNames,
    /// What is nested deeper than fifty levels is lost.
    CutsDepth,
    /// Text is cut at half a megabyte.
    CutsText,
    /// A record is cut at two megabytes.
    CutsRecords,
    /// Windows are one record short.
    ShortWindows,
    /// Windows are cut to the message.
    TornWindows,
    /// Windows reach along the log and not along the view.
    WindowsCountHidden,
    /// Windows reach behind clears.
    WindowsReachBehindClears,
    /// Every load says that it is complete.
    AlwaysComplete,
    /// No load says that it is complete.
    NeverComplete,
    /// A load of nothing gives no position.
    NoPositionOfNothing,
    /// The page before a page is that page again.
    PagesStandStill,
    /// Pages before a page show what was taken back.
    PagesShowTakenBack,
    /// A load since a number leaves out the record of that number.
    SinceForgetsOne,
    /// A page costs what everything behind it holds.
    CostsDepth,
    /// An operation costs what the session's length is.
    CostsLength,
    /// A load brings a thousand records at most.
    ThousandAtMost,
    /// Sessions are listed oldest first.
    OldestFirst,
    /// Every list is by start, whatever it says.
    ListsByStart,
    /// Each session is listed twice.
    ListsTwice,
    /// Every owner sees the list of nobody.
    SharedLists,
    /// Nothing is listed.
    ListsNothing,
    /// The listing of every session leaves out those that have an owner.
    ListsNobodysOnly,
    /// The first session of each page but the first is lost.
    PagesLose,
    /// A page goes on behind a session that must still be there.
    PagesNeedTheirSession,
    /// Titles are set, metadata is not.
    UpdatesHalf,
    /// What is said of a session that is not listed makes it so.
    UpdatesList,
    /// A clear takes the session off the directory.
    ClearsUnlist,
    /// A delete leaves the session on the directory.
    DeletesKeepListed,
    /// A delete always says that there was a session.
    DeletesAlwaysExisted,
    /// A delete clears nothing.
    DeletesNothing,
    /// A delete starts the log anew.
    DeletesTheLog,
    /// A delete takes what was appended while it ran, acknowledged or not.
    DeletesLate,
    /// Titles are not checked.
    AcceptsTitles,
    /// Keys of a thousand bytes are refused.
    RefusesLongKeys,
    /// Bad input is refused after it was written.
    WritesBadInput,
}
