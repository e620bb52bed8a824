import { resolveCacheDir } from '../../common/cache-dir.js'
import { digestOf, openHostCache } from '../../host/host-cache.js'
import { readLoadFactor } from '../../host/load.js'
import { describeGuestKind } from '../machine/guest-kind.js'
import type { Machine } from '../machine/machine.js'
import { STAGES, type Stage } from '../watch/boot-stages.js'
import type { StageTime } from '../watch/guest-watch.js'

/** Factor between the recorded duration of a stage and its time limit. */
const LIMIT_FACTOR = 4
/** Relative difference below which the history is not written again. */
const TOLERANCE = 0.25

/** Durations of the stages of a start, milliseconds, scaled to a host without other load. */
type StageTimes = Partial<Record<Stage, number>>

/** Recorded stage durations of guests of the same kind on this host. */
export class BootHistory {
  readonly #name: string
  #known: StageTimes

  private constructor(name: string, known: StageTimes) {
    this.#name = name
    this.#known = known
  }

  static async open({ spec, host }: Pick<Machine, 'spec' | 'host'>): Promise<BootHistory> {
    const { memoryBytes, traits } = describeGuestKind(spec, host, { isClone: false })
    const name = `boot-times-${digestOf(memoryBytes, ...traits)}`
    return new BootHistory(name, (await openCache().read(name, parseTimes)) ?? {})
  }

  /**
   * Returns the time limit of a stage by the history, under the present load, in milliseconds. 0 if
   * nothing is recorded.
   */
  limitMs(stage: Stage): number {
    return (this.#known[stage] ?? 0) * LIMIT_FACTOR * readLoadFactor()
  }

  /**
   * Returns the duration of a whole start by the history, under the present load, in milliseconds.
   * 0 if nothing is recorded.
   */
  get durationMs(): number {
    return STAGES.reduce((sum, stage) => sum + (this.#known[stage] ?? 0), 0) * readLoadFactor()
  }

  /** Records a successful start. The longest duration counts, and decays with each faster start. */
  async record(timeline: readonly StageTime[]): Promise<void> {
    const load = readLoadFactor()
    const times: StageTimes = { ...this.#known }
    for (const [index, { stage, atMs }] of timeline.entries()) {
      const next = timeline[index + 1]
      if (stage === 'ready' || next === undefined) continue
      const tookMs = Math.round((next.atMs - atMs) / load)
      const known = this.#known[stage]
      times[stage] = known === undefined ? tookMs : Math.max(tookMs, Math.round((known + tookMs) / 2))
    }
    if (!haveChanged(times, this.#known)) return
    this.#known = times
    await openCache().write(this.#name, times)
  }
}

function haveChanged(times: StageTimes, known: StageTimes): boolean {
  return STAGES.some((stage) => {
    const [now, before] = [times[stage] ?? 0, known[stage] ?? 0]
    return Math.abs(now - before) > Math.max(100, before * TOLERANCE)
  })
}

function parseTimes(value: unknown): StageTimes | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const isTime = ([, ms]: [string, unknown]) => typeof ms === 'number' && ms >= 0
  return Object.fromEntries(Object.entries(value).filter(isTime)) as StageTimes
}

function openCache() {
  return openHostCache(resolveCacheDir())
}
