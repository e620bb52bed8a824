/** Promise of a call. It records that the test awaits the call, or handles its result otherwise. */
export class CallPromise<T> extends Promise<T> {
  /** Guest of the call, for matchers: they receive only the promise. */
  readonly #owner: unknown
  readonly #onHandled: (() => void) | undefined

  constructor(
    executor: ConstructorParameters<typeof Promise<T>>[0],
    owner?: unknown,
    onHandled?: () => void,
  ) {
    super(executor)
    this.#owner = owner
    this.#onHandled = onHandled
  }

  /** Promises derived from this one are not calls. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  /** Returns the guest of a call, if `value` is the promise of one. */
  static ownerOf(value: unknown): unknown {
    return value instanceof CallPromise ? value.#owner : undefined
  }

  // biome-ignore lint/suspicious/noThenProperty: an override; its call shows an `await`
  override then<Value = T, Other = never>(
    onFulfilled?: ((value: T) => Value | PromiseLike<Value>) | null,
    onRejected?: ((reason: unknown) => Other | PromiseLike<Other>) | null,
  ): Promise<Value | Other> {
    this.#onHandled?.()
    return super.then(onFulfilled, onRejected)
  }

  /** Prevents that an unhandled rejection of this promise ends the process. */
  silence(): void {
    super.then(undefined, () => {})
  }
}
