import { raceSignal, withDeadline } from '../../common/deadline.js'
import { createDeferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { boundWait, type WaitLimit } from '../../common/wait-limit.js'
import { type VMError, vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'
import { findStuckKvm } from '../session/kvm-watch.js'
import type { Session } from '../session/session.js'
import { isLater, STAGE_ROWS, STAGES, type Stage, stageHint } from '../watch/boot-stages.js'
import { GuestPace } from '../watch/guest-pace.js'
import { StageClock } from '../watch/stage-clock.js'
import { BootHistory } from './boot-history.js'

/** Resets by the guest itself before it is ready: a boot loader may want one or two, a loop goes on. */
const RESETS_ALLOWED = 3
/** However light a guest and fast a host: a process may have to wait this long for a processor, milliseconds. */
const LEAST_DEADLINE_MS = 3_000
/** What an author waits for beyond the guest's own start may take, on a host with KVM, milliseconds. */
const OWN_CONDITION_MS = 60_000
const MIB = 1024 ** 2

export interface StartWait {
  readonly machine: Machine
  readonly session: Session
  /** Which stages the guest goes through until it is ready. */
  readonly lastStage: Stage
  readonly signal: AbortSignal | undefined
  /** Ends the start before its test. */
  readonly limit: WaitLimit
}

/**
 * Waits for `ready` under the deadlines of the stages: each begins when the guest comes to its stage. One that is slow but gets
 * on is given more time, one that is stuck less.
 *
 * @throws {GuestError} BOOT_TIMEOUT naming the stage; GUEST_PANICKED, GUEST_FAILED, GUEST_STOPPED,
 * GUEST_REBOOT_LOOP as soon as the guest can't get ready any more.
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
    deadlineMs: () => currentDeadlineMs(wait, history),
    sinceNewsMs: () => session.watch.sinceNewsMs,
    // One that is ready in its author's eyes only when something happens may well have nothing to do until then.
    canBeStuck: !isOwnCondition(machine),
    onEnd: async (why) => {
      const accelerator = await findStuckKvm(machine, session)
      stalled.reject(accelerator ?? stageTimeout(wait, { afterMs: performance.now() - startedAt, pace, why }))
    },
  })
  const stopStages = session.watch.onStage(() => clock.restart())
  const stopResets = session.onReset(() => {
    session.watch.restart(firstStage(machine))
    clock.restart()
    if (session.guestResets > RESETS_ALLOWED) stalled.reject(rebootLoop(machine, session))
  })
  const { timeoutMs, hint } = boundWait(machine.spec.timeouts.startMs ?? Number.POSITIVE_INFINITY, wait.limit)
  const onTimeout = () => {
    const error = stageTimeout(wait, { afterMs: performance.now() - startedAt, pace, why: 'time' })
    return hint === undefined ? error : error.withHint(hint)
  }
  try {
    const result = await withDeadline({ timeoutMs, signal: wait.signal, onTimeout }, (signal) => {
      const either = AbortSignal.any([signal, controller.signal])
      return raceSignal(Promise.race([ready(either), stalled.promise]), session.watch.failure)
    })
    session.watch.markReady()
    if (machine.startedFrom.kind === 'cold') history.learn(session.watch.timeline).catch(() => {}) // only an estimate is lost
    return result
  } finally {
    clock.stop()
    controller.abort()
    stopStages()
    stopResets()
  }
}

/** Direct boot skips the firmware's search and the boot loader. */
export function firstStage(machine: Machine): Stage {
  return machine.spec.directBoot === undefined ? 'firmware' : 'kernel'
}

/** How long a guest of this machine may stay in a stage on this host, milliseconds. */
export function stageDeadlineMs(machine: Machine, stage: Stage): number {
  const effort = machine.spec.image?.traits.startEffort ?? 1
  return Math.max(LEAST_DEADLINE_MS, STAGE_ROWS[stage].deadlineMs * effort * machine.host.timeFactor)
}

/** What has printed nothing yet may be in any of the stages to come. */
function currentDeadlineMs({ machine, session, lastStage }: StartWait, history: BootHistory): number {
  const { stage, hasPrinted } = session.watch
  const { startMs } = machine.spec.timeouts
  if (isOwnCondition(machine)) {
    if (startMs !== undefined) return startMs
    if (isLater(stage, 'kernel')) return OWN_CONDITION_MS * machine.host.timeFactor
  }
  const limitMs = (name: Stage) => Math.max(stageDeadlineMs(machine, name), history.patienceMs(name))
  if (hasPrinted) return limitMs(stage)
  const stages = STAGES.slice(STAGES.indexOf(stage), STAGES.indexOf(lastStage) + 1)
  return stages.reduce((total, name) => total + limitMs(name), 0)
}

/** Whether the author says by a pattern or a function when the guest is ready. */
function isOwnCondition({ spec: { ready } }: Machine): boolean {
  return ready instanceof RegExp || typeof ready === 'function'
}

interface TimeoutFacts {
  readonly afterMs: number
  readonly pace: GuestPace
  readonly why: 'time' | 'stuck'
}

function stageTimeout(wait: StartWait, { afterMs, pace, why }: TimeoutFacts): VMError {
  const { watch } = wait.session
  const stuck = `it is stuck: for ${formatDuration(pace.idleMs)} it has not printed, used its disk or had anything to compute; `
  return vmError('BOOT_TIMEOUT', {
    summary: `The guest '${wait.machine.spec.name}' was not ready after ${formatDuration(afterMs)}: it stayed in stage '${watch.stage}' for ${formatDuration(watch.inStageMs)}.`,
    expected: describeExpected(wait),
    got: `${why === 'stuck' ? stuck : ''}${describeGot(wait)}`,
    evidence: [{ label: 'What it did', text: pace.describe() ?? '' }],
    hint: isOwnCondition(wait.machine)
      ? '`ready` is what was waited for; give it longer with `timeouts: { start: … }`.'
      : `${stageHint(watch.stage, wait.machine.spec.arch)} \`timeouts: { start: … }\` bounds the whole start.`,
  })
}

function describeGot({ machine, session }: StartWait): string {
  const { silentMs } = machine.serial
  const console =
    silentMs === undefined
      ? 'nothing on the serial console'
      : `the last output on the serial console ${formatDuration(silentMs)} ago`
  const { sshProbe } = session.watch
  return sshProbe === undefined ? console : `${console}; by SSH: ${sshProbe.text}`
}

function describeExpected({ machine, session, lastStage }: StartWait): string {
  const { ready } = machine.spec
  if (ready instanceof RegExp) return `${ready} on the serial console`
  if (typeof ready === 'function') return 'the function `ready` to resolve'
  const stages = STAGES.slice(STAGES.indexOf(session.watch.stage), STAGES.indexOf(lastStage) + 1)
  return `the guest to come through ${stages.join(', ')}`
}

function rebootLoop({ spec }: Machine, { guestResets }: Session): VMError {
  return vmError('GUEST_REBOOT_LOOP', {
    summary: `The guest reset itself ${guestResets} times before it was ready.`,
    hint: `see on the serial console what happens before each reset. A kernel that prints nothing before it has too little \`memory\` (${Math.round(spec.memoryBytes / MIB)} MiB here) or wants another \`cpu\`; a panic with \`panic=\` in the kernel arguments looks like this too.`,
  })
}
