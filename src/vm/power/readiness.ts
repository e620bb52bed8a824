import { combineSignals } from '../../common/combine-signals.js'
import { raceSignal, withDeadline } from '../../common/deadline.js'
import { createDeferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { MIB } from '../../common/units.js'
import { boundWait, type WaitLimit } from '../../common/wait-limit.js'
import { type VMError, vmError } from '../../errors.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Machine } from '../machine/machine.js'
import { findStuckKvm } from '../session/kvm-watch.js'
import type { Session } from '../session/session.js'
import { isLater, STAGE_ROWS, STAGES, type Stage, stageHint } from '../watch/boot-stages.js'
import { GuestPace } from '../watch/guest-pace.js'
import { StageClock } from '../watch/stage-clock.js'
import { BootHistory } from './boot-history.js'

/**
 * Maximum number of resets by the guest itself before it is ready: a boot loader may need one or
 * two.
 */
const MAX_RESETS = 3
/**
 * Minimum time limit of a stage, milliseconds: a process may wait this long for a CPU on any host.
 */
const MIN_LIMIT_MS = 3_000
/**
 * Time limit of a custom `ready` after the kernel has started, on a host with KVM, in milliseconds.
 */
const CUSTOM_READY_MS = 60_000

export interface StartWait {
  readonly machine: Machine
  readonly session: Session
  /** Last stage before the guest is ready. */
  readonly lastStage: Stage
  readonly signal: AbortSignal | undefined
  /** Limit that ends the start before its test times out. */
  readonly limit: WaitLimit
}

/**
 * Waits for `ready` within the time limits of the stages. Each limit starts when the guest enters
 * the stage. A guest that makes progress gets more time, a stuck guest gets less.
 *
 * @throws {GuestError} BOOT_TIMEOUT naming the stage; GUEST_PANICKED, GUEST_FAILED, GUEST_STOPPED,
 * GUEST_REBOOT_LOOP as soon as the guest can no longer become ready.
 * @throws {InfrastructureError} QEMU_DIED, ACCELERATOR_FAILED.
 */
export async function waitUntilReady<T>(
  wait: StartWait,
  ready: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { machine, session } = wait
  const startedAt = performance.now()
  const controller = new AbortController()
  const stalled = createDeferred<never>()
  stalled.promise.catch(() => {})
  const pace = new GuestPace(session.process.pid, () => machine.serial.silentMs)
  const history = await BootHistory.open(machine)
  const clock = new StageClock({
    pace,
    limitMs: () => currentLimitMs(wait, history),
    sinceProgressMs: () => session.watch.sinceProgressMs,
    // A guest with a custom `ready` may be idle until the awaited event.
    canBeStuck: !hasCustomReady(machine),
    onEnd: async (why) => {
      const accelerator = await findStuckKvm(machine, session)
      stalled.reject(accelerator ?? stageTimeout(wait, { afterMs: performance.now() - startedAt, pace, why }))
    },
  })
  const stopStages = session.watch.onStage(() => clock.restart())
  const stopResets = session.onReset(() => {
    session.watch.restart(firstStage(machine))
    clock.restart()
    if (session.guestResets > MAX_RESETS) stalled.reject(rebootLoop(machine, session))
  })
  const { timeoutMs, hint } = boundWait(machine.spec.timeouts.startMs ?? Number.POSITIVE_INFINITY, wait.limit)
  const onTimeout = () => {
    const error = stageTimeout(wait, { afterMs: performance.now() - startedAt, pace, why: 'time' })
    return hint === undefined ? error : error.withHint(hint)
  }
  try {
    const result = await withDeadline({ timeoutMs, signal: wait.signal, onTimeout }, (signal) => {
      const either = combineSignals(signal, controller.signal)
      return raceSignal(Promise.race([ready(either), stalled.promise]), session.watch.failure)
    })
    session.watch.markReady()
    // An error is ignored, because the history is only an estimate.
    if (machine.owner.startedFrom.kind === 'cold') history.record(session.watch.timeline).catch(() => {})
    return result
  } finally {
    clock.stop()
    controller.abort()
    stopStages()
    stopResets()
  }
}

/** Returns the first stage after QEMU. Direct kernel boot skips firmware and boot loader. */
export function firstStage(machine: Machine): Stage {
  return machine.spec.directBoot === undefined ? 'firmware' : 'kernel'
}

/** Returns the time limit of a stage on this host, in milliseconds. */
export function stageLimitMs(machine: Machine, stage: Stage): number {
  const factor = machine.spec.image?.traits.bootTimeFactor ?? 1
  return Math.max(MIN_LIMIT_MS, STAGE_ROWS[stage].limitMs * factor * machine.host.timeFactor)
}

/**
 * Returns the present time limit. A guest without console output may be in any later stage, so
 * their limits are added up.
 */
function currentLimitMs({ machine, session, lastStage }: StartWait, history: BootHistory): number {
  const { stage, hasPrinted } = session.watch
  const { startMs } = machine.spec.timeouts
  if (hasCustomReady(machine)) {
    if (startMs !== undefined) return startMs
    if (isLater(stage, 'kernel')) return CUSTOM_READY_MS * machine.host.timeFactor
  }
  const limitMs = (name: Stage) => Math.max(stageLimitMs(machine, name), history.limitMs(name))
  if (hasPrinted) return limitMs(stage)
  const stages = STAGES.slice(STAGES.indexOf(stage), STAGES.indexOf(lastStage) + 1)
  return stages.reduce((total, name) => total + limitMs(name), 0)
}

/** Returns true if a guest is ready when it accepts a login over SSH. */
export function isReadyOverSsh({ ready }: MachineSpec): boolean {
  return ready === 'ssh' || ready === 'cloud-init'
}

/** Returns true if `ready` is a pattern or a function. */
export function hasCustomReady({ spec: { ready } }: Pick<Machine, 'spec'>): boolean {
  return ready instanceof RegExp || typeof ready === 'function'
}

interface TimeoutFacts {
  readonly afterMs: number
  readonly pace: GuestPace
  readonly why: 'time' | 'stuck'
}

function stageTimeout(wait: StartWait, { afterMs, pace, why }: TimeoutFacts): VMError {
  const { watch } = wait.session
  const stuck = `no console output, disk I/O or CPU use for ${formatDuration(pace.idleMs)}; `
  return vmError('BOOT_TIMEOUT', {
    summary: `The guest '${wait.machine.name}' was not ready after ${formatDuration(afterMs)}: it stayed in stage '${watch.stage}' for ${formatDuration(watch.inStageMs)}.`,
    expected: describeExpected(wait),
    got: `${why === 'stuck' ? stuck : ''}${describeGot(wait)}`,
    evidence: [{ label: 'Activity of the guest', text: pace.describe() ?? '' }],
    hint: hasCustomReady(wait.machine)
      ? 'Check the condition `ready`, or set a longer `timeouts: { start: … }`.'
      : `${stageHint(watch.stage, wait.machine.spec.arch)} \`timeouts: { start: … }\` limits the whole start.`,
  })
}

function describeGot({ machine, session }: StartWait): string {
  const { silentMs } = machine.serial
  const console =
    silentMs === undefined
      ? 'no output on the serial console'
      : `last output on the serial console ${formatDuration(silentMs)} ago`
  const { sshProbe } = session.watch
  return sshProbe === undefined ? console : `${console}; over SSH: ${sshProbe.text}`
}

function describeExpected({ machine, session, lastStage }: StartWait): string {
  const { ready } = machine.spec
  if (ready instanceof RegExp) return `${ready} on the serial console`
  if (typeof ready === 'function') return 'the function `ready` to resolve'
  const stages = STAGES.slice(STAGES.indexOf(session.watch.stage), STAGES.indexOf(lastStage) + 1)
  return `the guest to pass the stages ${stages.join(', ')}`
}

function rebootLoop({ spec }: Machine, { guestResets }: Session): VMError {
  return vmError('GUEST_REBOOT_LOOP', {
    summary: `The guest reset itself ${guestResets} times before it was ready.`,
    hint: `Check the serial console before each reset. If the kernel prints nothing, raise \`memory\` (${Math.round(spec.memoryBytes / MIB)} MiB here) or change \`cpu\`. A panic with \`panic=\` in the kernel arguments also resets the guest.`,
  })
}
