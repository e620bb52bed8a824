/** How long after a template could not be made for the second time the next guest may try again, milliseconds; then twice as long each time. */
const FIRST_DELAY_MS = 30_000
const MOST_DELAY_MS = 600_000

interface Refusal {
  readonly reason: string
  readonly failures: number
  readonly retryAtMs: number
}

/**
 * Templates that could not be made in this process. One that QEMU refuses is not tried again. Any other is: the next guest may
 * find an idle host. What it costs is bounded by a backoff.
 */
export class TemplateRefusals {
  readonly #refusals = new Map<string, Refusal>()
  readonly #now: () => number

  /** @param now the time in milliseconds. @default that of the monotonic clock */
  constructor(now = () => performance.now()) {
    this.#now = now
  }

  /** Returns why this template is not to be tried at present; undefined where it may be. */
  find(key: string): string | undefined {
    const refusal = this.#refusals.get(key)
    return refusal !== undefined && refusal.retryAtMs > this.#now() ? refusal.reason : undefined
  }

  /** Notes that a template could not be made. Returns after how long it may be tried again: infinity for one that never can be made. */
  note(key: string, { reason, isLasting }: { readonly reason: string; readonly isLasting: boolean }): number {
    const failures = (this.#refusals.get(key)?.failures ?? 0) + 1
    const delayMs = isLasting
      ? Number.POSITIVE_INFINITY
      : failures === 1
        ? 0
        : Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 2))
    this.#refusals.set(key, { reason, failures, retryAtMs: this.#now() + delayMs })
    return delayMs
  }

  /** Notes that a template was made. */
  forget(key: string): void {
    this.#refusals.delete(key)
  }
}
