// @ts-expect-error: the bench is plain JavaScript.
import * as bench from '../../bench/fake-clock.mjs'

/** Returns the path of the library that gives a program its own clock; undefined if it is not installed. */
export const findClockLibrary: () => string | undefined = bench.findClockLibrary

/** Makes a clock for programs. `env` is their environment; `set` sets its offset from the host's clock, seconds. */
export const makeClock: (
  folder: string,
  qemu: string,
) => { readonly env: NodeJS.ProcessEnv; set(seconds: number): void } | undefined = bench.makeClock
