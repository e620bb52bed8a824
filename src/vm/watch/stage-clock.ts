import type { GuestPace } from './guest-pace.js'

/** What tells a guest that is slow from one that is stuck. */
const RULES = {
  /** How often it is looked at, milliseconds. Most are ready before the first look. */
  lookMs: 1000,
  /** One that has done nothing at all for this share of a stage's time, and for this long, will do nothing more. */
  stuckShare: 0.5,
  stuckLeastMs: 30_000,
  /** One that gets on was seen doing something new within the last part of its time. It is given so much more, again and again. */
  newsShare: 0.3,
  moreShare: 0.5,
  /** No stage takes longer than so many times what it is given at first. */
  mostShare: 3,
}

export interface StageClockOptions {
  readonly pace: GuestPace
  /** How long the present stage is given on this host, milliseconds. */
  readonly deadlineMs: () => number
  /** How long ago it printed something that it had not printed before, milliseconds. */
  readonly sinceNewsMs: () => number
  /** Whether one that does nothing at all counts as stuck. */
  readonly canBeStuck: boolean
  /** Called once, when the time of a stage is up, or it is known that it will not do. */
  readonly onEnd: (why: 'time' | 'stuck') => void
  /** Other rules than the usual ones. */
  readonly rules?: Partial<typeof RULES>
}

/**
 * The time of the stages of a start. A guest that had to wait for a processor of this host is given that time again, one that
 * still gets on some more; one that is stuck is not waited for to the end.
 */
export class StageClock {
  readonly #options: StageClockOptions
  readonly #rules: typeof RULES
  #startedAt = performance.now()
  #queuedBefore = 0
  #moreMs = 0
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(options: StageClockOptions) {
    this.#options = options
    this.#rules = { ...RULES, ...options.rules }
    this.restart()
  }

  /** A stage begins. */
  restart(): void {
    this.#startedAt = performance.now()
    this.#queuedBefore = this.#options.pace.queuedMs
    this.#moreMs = 0
    this.#schedule()
  }

  stop(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  get #leftMs(): number {
    const { pace, deadlineMs } = this.#options
    const givenMs = deadlineMs()
    const queuedMs = pace.queuedMs - this.#queuedBefore
    const allMs = Math.min(givenMs + queuedMs + this.#moreMs, givenMs * this.#rules.mostShare)
    return allMs - (performance.now() - this.#startedAt)
  }

  #schedule(): void {
    if (this.#isOver) return
    clearTimeout(this.#timer)
    // Without a deadline there is nothing to tell.
    if (!Number.isFinite(this.#options.deadlineMs())) return
    this.#timer = setTimeout(() => void this.#look(), Math.max(1, Math.min(this.#rules.lookMs, this.#leftMs)))
  }

  async #look(): Promise<void> {
    const { pace, deadlineMs, canBeStuck, onEnd } = this.#options
    const { stuckLeastMs, stuckShare, moreShare, mostShare } = this.#rules
    const startedAt = this.#startedAt
    await pace.look()
    if (this.#isOver || startedAt !== this.#startedAt) return
    const givenMs = deadlineMs()
    if (canBeStuck && pace.idleMs >= Math.max(stuckLeastMs, givenMs * stuckShare)) {
      this.stop()
      onEnd('stuck')
      return
    }
    // A look may have come late.
    while (this.#leftMs <= 0 && this.#moreMs < givenMs * mostShare && this.#isMoving(givenMs)) {
      this.#moreMs += givenMs * moreShare
    }
    if (this.#leftMs <= 0) {
      this.stop()
      onEnd('time')
      return
    }
    this.#schedule()
  }

  #isMoving(givenMs: number): boolean {
    const { pace, sinceNewsMs } = this.#options
    return Math.min(pace.sinceIoMs, sinceNewsMs()) < givenMs * this.#rules.newsShare
  }
}
