import type { GuestPace } from './guest-pace.js'

/** Rules that distinguish a slow guest from a stuck one. */
const RULES = {
  /** Polling interval, in milliseconds. Most guests are ready before the first poll. */
  pollMs: 1000,
  /**
   * A guest that was idle for this share of the stage's limit is stuck, within these bounds. The
   * upper bound is longer than the timeouts of DHCP clients, during which a guest is idle.
   */
  stuckShare: 0.5,
  stuckMinMs: 30_000,
  stuckMaxMs: 90_000,
  /**
   * A guest that made progress within the last `progressShare` of its limit gets `extensionShare`
   * of the limit in addition, repeatedly.
   */
  progressShare: 0.3,
  extensionShare: 0.5,
  /** Maximum duration of a stage, as a multiple of its limit. */
  maxFactor: 3,
}

export interface StageClockOptions {
  readonly pace: GuestPace
  /** Returns the time limit of the present stage on this host, in milliseconds. */
  readonly limitMs: () => number
  /** Returns the time since the last new console line, in milliseconds. */
  readonly sinceProgressMs: () => number
  /** If true, an idle guest counts as stuck. */
  readonly canBeStuck: boolean
  /** Called once, when a stage timed out or the guest is stuck. */
  readonly onEnd: (why: 'time' | 'stuck') => void
  /** Overrides of the default rules. */
  readonly rules?: Partial<typeof RULES>
}

/**
 * Time limits of the stages of a start. Time that a guest waited for a host CPU is added to its
 * limit, and a guest that makes progress gets more time. The wait for a stuck guest ends early.
 */
export class StageClock {
  readonly #options: StageClockOptions
  readonly #rules: typeof RULES
  #startedAt = performance.now()
  #queuedBefore = 0
  #extensionMs = 0
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(options: StageClockOptions) {
    this.#options = options
    this.#rules = { ...RULES, ...options.rules }
    this.restart()
  }

  /** Starts the time of a new stage. */
  restart(): void {
    this.#startedAt = performance.now()
    this.#queuedBefore = this.#options.pace.queuedMs
    this.#extensionMs = 0
    this.#schedule()
  }

  stop(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  get #leftMs(): number {
    const { pace } = this.#options
    const limitMs = this.#options.limitMs()
    const queuedMs = pace.queuedMs - this.#queuedBefore
    const allMs = Math.min(limitMs + queuedMs + this.#extensionMs, limitMs * this.#rules.maxFactor)
    return allMs - (performance.now() - this.#startedAt)
  }

  #schedule(): void {
    if (this.#isOver) return
    clearTimeout(this.#timer)
    // Without a limit, there is nothing to enforce.
    if (!Number.isFinite(this.#options.limitMs())) return
    this.#timer = setTimeout(() => void this.#poll(), Math.max(1, Math.min(this.#rules.pollMs, this.#leftMs)))
  }

  async #poll(): Promise<void> {
    const { pace, canBeStuck, onEnd } = this.#options
    const { stuckMinMs, stuckMaxMs, stuckShare, extensionShare, maxFactor } = this.#rules
    const startedAt = this.#startedAt
    await pace.update()
    if (this.#isOver || startedAt !== this.#startedAt) return
    const limitMs = this.#options.limitMs()
    const stuckMs = Math.min(stuckMaxMs, Math.max(stuckMinMs, limitMs * stuckShare))
    if (canBeStuck && pace.idleMs >= stuckMs) {
      this.stop()
      onEnd('stuck')
      return
    }
    // The poll may be late, so several extensions may be due.
    while (this.#leftMs <= 0 && this.#extensionMs < limitMs * maxFactor && this.#makesProgress(limitMs)) {
      this.#extensionMs += limitMs * extensionShare
    }
    if (this.#leftMs <= 0) {
      this.stop()
      onEnd('time')
      return
    }
    this.#schedule()
  }

  #makesProgress(limitMs: number): boolean {
    const { pace, sinceProgressMs } = this.#options
    return Math.min(pace.sinceIoMs, sinceProgressMs()) < limitMs * this.#rules.progressShare
  }
}
