// @ts-expect-error: the bench is plain JavaScript.
import * as bench from '../../bench/fake-clock.mjs'

/** The library by which a program gets a clock of its own, if it is installed. */
export const findClockLibrary: () => string | undefined = bench.findClockLibrary

/** A clock for programs: `env` is their environment, and `set` says how many seconds it is ahead of the host's. */
export const makeClock: (
  folder: string,
  qemu: string,
) => { readonly env: NodeJS.ProcessEnv; set(seconds: number): void } | undefined = bench.makeClock
