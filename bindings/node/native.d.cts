/** The native part; see bindings/node/native/src/lib.rs for each function. */
export interface NativeStore {
  call(operation: string, request: string): Promise<string>;
}

export interface Native {
  NativeStore: new (setup: string) => NativeStore;
  integerMark(): string;
  randomSessionId(): string;
  version(): string;
}

export const native: Native;

/** The open stores of this process, by what they were opened with. Shared by both module systems. */
export const stores: Map<string, NativeStore>;
