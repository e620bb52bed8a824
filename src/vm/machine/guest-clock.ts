import type { ClockOptions } from '../../spec/options/machine.js'

const MS_PER_MINUTE = 60_000

/** Time of a guest whose clock starts at the option `rtc.base`. */
export class GuestClock {
  readonly #base: ClockOptions['base']
  /** Difference between the clocks of the guest and of the host, in milliseconds. */
  #offsetMs = 0

  constructor({ base }: ClockOptions) {
    this.#base = base
    this.start()
  }

  /**
   * Starts the clock: a guest with a fixed `rtc.base` starts at that time.
   * @returns the time of the guest, in milliseconds since 1970.
   */
  start(now = Date.now()): number {
    this.#offsetMs = startTimeMs(this.#base, now) - now
    return this.now(now)
  }

  /** Returns the present time of the guest, in milliseconds since 1970. */
  now(now = Date.now()): number {
    return now + this.#offsetMs
  }
}

/** Returns the time at which the clock of a guest starts. QEMU takes a date as UTC. */
function startTimeMs(base: ClockOptions['base'], now: number): number {
  if (base === undefined || base === 'utc') return now
  if (base === 'localtime') return now - new Date(now).getTimezoneOffset() * MS_PER_MINUTE
  return Date.parse(base.includes('T') ? `${base}Z` : base)
}
