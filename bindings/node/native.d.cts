/** The native part: bindings/node/native/src/lib.rs says what each does. */
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

/** The stores that this process has open, by what they were opened with. One for both module systems. */
export const stores: Map<string, NativeStore>;
