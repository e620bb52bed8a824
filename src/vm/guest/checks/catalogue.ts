import type { VM } from '../vm.js'
import type { Check as CheckOf } from './check.js'
import {
  allOf,
  anyOf,
  type CheckFunction as CheckFunctionOf,
  type CheckLike as CheckLikeOf,
} from './combined.js'
import { commandFailsWith, commandPrints, commandSucceeds } from './command.js'
import { displayShows } from './display.js'
import { fileExists } from './file.js'
import { journalIsClean } from './journal.js'
import { kernelLogIsClean } from './kernel-log.js'
import { hasLogged } from './logged.js'
import { hasFetched, hasFetchedInOrder, hasLease } from './netboot.js'
import { interfaceIsUp, portListens } from './network.js'
import { serialShows } from './serial.js'
import { hasPanicked, hasRebooted, isPoweredOff, isRunning } from './state.js'
import { isMounted, moduleIsLoaded, processRuns } from './system.js'
import { unitIsActive } from './systemd.js'
import { urlAnswers } from './url.js'

/**
 * Built-in checks, for `vm.waitFor.check()`, `all()` and `any()`, and for `vm.always()`.
 * @example await vm.waitFor.all([checks.portListens(80), checks.fileExists('/run/ready')])
 */
export const checks = {
  unitIsActive,
  journalIsClean,
  kernelLogIsClean,
  hasLogged,
  fileExists,
  portListens,
  interfaceIsUp,
  urlAnswers,
  processRuns,
  isMounted,
  moduleIsLoaded,
  commandSucceeds,
  commandPrints,
  commandFailsWith,
  serialShows,
  displayShows,
  isPoweredOff,
  isRunning,
  hasPanicked,
  hasRebooted,
  hasFetched,
  hasFetchedInOrder,
  hasLease,
  /**
   * Met if all checks are met in the same poll.
   * @example checks.allOf([checks.portListens(80), checks.processRuns('nginx')])
   */
  allOf: allOf<VM>,
  /**
   * Met if at least one check is met; the value is the index of the first.
   * @example checks.anyOf([checks.serialShows('login:'), checks.hasPanicked()])
   */
  anyOf: anyOf<VM>,
} as const

/** Condition of a guest that can be observed. */
export type Check<T = unknown> = CheckOf<T, VM>
/** Custom check: met unless it returns (or resolves to) `false`, or throws. */
export type CheckFunction = CheckFunctionOf<VM>
/** A check of `checks`, or a custom check function. */
export type CheckLike<T = unknown> = CheckLikeOf<T, VM>
