import { dirname } from 'node:path'
import { runAsHolder, withReservation } from '../../budget/holder.js'
import { reserveCapacity } from '../../budget/take-lease.js'
import { combineSignals } from '../../common/combine-signals.js'
import { toDiskError } from '../../common/process/run-tool.js'
import { withWaitLimit } from '../../common/wait-limit.js'
import { VMError, vmError } from '../../errors.js'
import type { VM } from '../guest/vm.js'
import { describeGuestKind } from '../machine/guest-kind.js'
import type { GuestPlan, MachineSnapshot, StartOrigin } from '../machine/guest-plan.js'
import type { Machine } from '../machine/machine.js'
import type { ForkParent, ForkRequest } from '../power/power.js'
import { canGetIdentity } from '../power/restore-state.js'
import { Capture } from './capture.js'
import { checkForkRequest } from './check-request.js'
import { newLanName, planChild } from './child-plan.js'
import { requireForkable } from './requirements.js'

/** Starts a guest from a snapshot. */
export type StartGuest = (
  plan: GuestPlan,
  origin: StartOrigin,
) => Promise<{ readonly vm: VM; readonly disposed: Promise<void> }>

/** A guest that is forked, and the plans of its children. */
interface Family {
  readonly vm: VM
  readonly parent: ForkParent
  readonly identity: 'own' | 'same'
  readonly children: readonly GuestPlan[]
}

/**
 * Starts `count` children of each guest, which continue from the same moment. The guests are paused
 * together, for as long as the slowest save takes. Returns the children of the first guest first.
 *
 * @throws {UsageError} INVALID_OPTIONS; SAVE_UNSUPPORTED when a guest cannot be forked;
 *   VM_NOT_RUNNING.
 * @throws {InfrastructureError} FORK_FAILED, HOST_TOO_SMALL, NO_SPACE, QMP_FAILED. The parents
 *   continue to run.
 */
export async function forkGuests(
  vms: readonly VM[],
  { count, options }: ForkRequest,
  start: StartGuest,
): Promise<VM[]> {
  checkForkRequest(vms, count, options)
  const parents = vms.map((vm) => vm.forkParent())
  const [first] = parents
  if (first === undefined) return []
  const failure = new AbortController()
  const signal = combineSignals(failure.signal, options.signal, ...parents.map((parent) => parent.signal))
  signal.throwIfAborted()
  const lans = Array.from({ length: count }, newLanName)
  const families = parents.map((parent, at) => {
    const { machine } = parent
    const identity = chooseIdentity(machine, options.identity)
    const children = lans.map((lan, index) =>
      planChild(machine, { index, count, lan }, { name: options.name, identity }, signal),
    )
    return { vm: vms[at] as VM, parent, identity, children }
  })
  const { lease, owner } = first.machine
  const work = () => forkFamilies(families, { failure, signal, start })
  // Children belong to the test of their parent, whoever calls this.
  return runAsHolder({ name: lease.entry.holder }, () => withWaitLimit(owner.waitLimit, work))
}

function chooseIdentity(machine: Machine, requested: 'own' | 'same' | undefined): 'own' | 'same' {
  if (canGetIdentity(machine)) return requested ?? 'own'
  if (requested !== 'own') return 'same'
  throw vmError('INVALID_OPTIONS', {
    summary: `The children of the guest '${machine.name}' cannot have their own identity.`,
    expected: "an image with withvm's identity agent, such as `tiny` or `debian`, and keys of withvm",
    hint: "Set `identity: 'same'`.",
  })
}

interface ForkRun {
  /** Aborted when a child fails, so that the others are not started. */
  readonly failure: AbortController
  readonly signal: AbortSignal
  readonly start: StartGuest
}

async function forkFamilies(families: readonly Family[], run: ForkRun): Promise<VM[]> {
  const { signal } = run
  await Promise.all(families.map(({ parent }) => requireForkable(parent, signal)))
  // First, because waiting for memory must not hold anything.
  const reserved = await reserveForAll(families, signal)
  try {
    const taken = await takeSnapshots(families, run)
    try {
      return await withReservation(reserved, () => startChildren(families, taken, run))
    } finally {
      await Promise.all(taken.captures.map((capture) => capture.dispose()))
    }
  } finally {
    await reserved.release()
  }
}

function reserveForAll(families: readonly Family[], signal: AbortSignal) {
  const requests = families.flatMap(({ parent, children }) => {
    const isClone = (parent.session.restoredFrom?.memory.length ?? 0) > 0
    return children.map(({ name, spec, host }) => ({
      name,
      kind: describeGuestKind(spec, host, { isClone }),
    }))
  })
  const log = families[0]?.parent.machine.owner.log ?? (() => {})
  return reserveCapacity(requests, { signal, log })
}

/** Snapshots of all guests at the same moment. */
interface TakenSnapshots {
  readonly captures: readonly Capture[]
  readonly snapshots: readonly MachineSnapshot[]
  readonly pauseMs: number
}

async function takeSnapshots(families: readonly Family[], run: ForkRun): Promise<TakenSnapshots> {
  const parents = families.map(({ parent }) => parent)
  const unlocks: Array<() => void> = []
  const captures: Capture[] = []
  try {
    // In the order of their names: two calls with the same guests must not wait for each other.
    const inOrder = parents.map(({ machine }) => machine).sort((one, two) => (one.name < two.name ? -1 : 1))
    for (const { forking } of inOrder) unlocks.push(await forking.acquire(run.signal))
    const preparing = parents.map(async (parent) => {
      const capture = await Capture.prepare(parent, dirname(parent.machine.workspace.dir), run.signal)
      captures.push(capture)
      return capture
    })
    await Promise.allSettled(preparing)
    const prepared = await Promise.all(preparing)
    const pauseMs = await pauseAll(parents, () =>
      settle(prepared.map((capture) => capture.saveWhilePaused())),
    )
    const snapshots = await settle(
      prepared.map((capture, at) => capture.complete(families[at]?.identity ?? 'same')),
    )
    for (const capture of prepared) await capture.releaseParent()
    return { captures: prepared, snapshots, pauseMs }
  } catch (error) {
    await Promise.all(captures.map((capture) => capture.dispose()))
    run.signal.throwIfAborted()
    throw explain(error, parents)
  } finally {
    for (const unlock of unlocks) unlock()
  }
}

/** Waits for all, so that nothing runs any more when the first error is thrown. */
async function settle<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work)
  return Promise.all(work)
}

/**
 * Pauses all guests during `work`. Returns the time for which they were paused, in milliseconds.
 */
async function pauseAll(parents: readonly ForkParent[], work: () => Promise<unknown>): Promise<number> {
  const resumes = await Promise.all(parents.map(({ session }) => session.pause()))
  const pausedAt = performance.now()
  try {
    await work()
  } finally {
    await Promise.all(resumes.map((resume) => resume()))
  }
  return performance.now() - pausedAt
}

async function startChildren(
  families: readonly Family[],
  { snapshots, captures, pauseMs }: TakenSnapshots,
  { failure, signal, start }: ForkRun,
): Promise<VM[]> {
  const starts = families.flatMap(({ vm, parent, children }, at) => {
    const { origin, name } = parent.machine
    const method = captures[at]?.method ?? 'migration'
    return children.map(async (plan) => {
      const startedFrom = { kind: 'fork', parent: name, method, pauseMs } as const
      const child = await start(plan, { startedFrom, snapshot: snapshots[at], noteUse: origin.noteUse })
      if (signal.aborted) {
        await child.vm.dispose()
        throw signal.reason
      }
      vm.adopt(child.vm)
      void child.disposed.then(() => vm.forget(child.vm))
      return child.vm
    })
  })
  for (const one of starts) one.catch((error: unknown) => failure.abort(error))
  const results = await Promise.allSettled(starts)
  const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  if (started.length === starts.length) return started
  await Promise.allSettled(started.map((child) => child.dispose()))
  throw failure.signal.reason
}

function explain(error: unknown, parents: readonly ForkParent[]): unknown {
  const known = toDiskError(error, 'saving the state of a running guest')
  if (known instanceof VMError) return known
  const names = parents.map(({ machine }) => `'${machine.name}'`).join(', ')
  return vmError('FORK_FAILED', {
    summary: `The state of ${names} could not be saved for a fork.`,
    got: error instanceof Error ? error.message : String(error),
    hint: 'Retry, or start a new guest instead. Report this if it persists.',
    cause: error,
  })
}
