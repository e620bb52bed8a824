/**
 * Delay after the second failed attempt to make a template, in milliseconds. It doubles with each
 * further failure.
 */
const FIRST_DELAY_MS = 30_000
const MAX_DELAY_MS = 600_000

interface Failure {
  readonly reason: string
  readonly attempts: number
  readonly retryAtMs: number
}

/**
 * Templates that could not be made in this process. A template that QEMU can never save is not
 * retried. Others are retried with a backoff, because the next guest may find an idle host.
 */
export class TemplateFailures {
  readonly #failures = new Map<string, Failure>()
  readonly #now: () => number

  /** @param now returns the time in milliseconds. @default the monotonic clock */
  constructor(now = () => performance.now()) {
    this.#now = now
  }

  /** Returns why this template must not be tried now; undefined if it may be tried. */
  find(request: string): string | undefined {
    const failure = this.#failures.get(request)
    return failure !== undefined && failure.retryAtMs > this.#now() ? failure.reason : undefined
  }

  /**
   * Records a failed attempt. Returns the delay before the next attempt, milliseconds: infinity if
   * the template can never be made.
   */
  note(
    request: string,
    { reason, isPermanent }: { readonly reason: string; readonly isPermanent: boolean },
  ): number {
    const attempts = (this.#failures.get(request)?.attempts ?? 0) + 1
    const delayMs = isPermanent
      ? Number.POSITIVE_INFINITY
      : attempts === 1
        ? 0
        : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempts - 2))
    this.#failures.set(request, { reason, attempts, retryAtMs: this.#now() + delayMs })
    return delayMs
  }

  /** Removes the record of a template after it was made. */
  forget(request: string): void {
    this.#failures.delete(request)
  }
}
