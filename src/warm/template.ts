import { appendFile, chmod, copyFile, rm, statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Lease } from '../budget/lease.js'
import { enterBlocked } from '../budget/take-lease.js'
import { nameEntry, openCacheEntry } from '../cache/cache.js'
import { describeLockWait } from '../cache/entry-lock.js'
import { hashFile } from '../cache/entry-manifest.js'
import { discardEntry, hasEarlierUsers } from '../cache/entry-store.js'
import { resolveCacheDir } from '../common/cache-dir.js'
import { formatDuration } from '../common/duration.js'
import { copySparse } from '../common/files/sparse-copy.js'
import { changeOwner } from '../common/process/host-user.js'
import { noSpaceError } from '../common/process/run-tool.js'
import { createProgress } from '../common/progress.js'
import { formatBytes, MIB } from '../common/units.js'
import { currentWaitLimit, testTimeTooShort, withWaitLimit } from '../common/wait-limit.js'
import { createOverlay, flattenOverlay } from '../disk/overlay.js'
import { copyWrittenFile, copyWrittenOverlay, readOverlayBase } from '../disk/written-overlay.js'
import { VMError, vmError } from '../errors.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { bootMachine } from '../vm/boot/boot.js'
import { runPreparation } from '../vm/guest/run-preparation.js'
import type { GuestPlan, MachineSnapshot } from '../vm/machine/guest-plan.js'
import { BootHistory } from '../vm/power/boot-history.js'
import { saveGuest } from '../vm/power/save-state.js'
import { newGuestName } from '../vm/workspace/guest-name.js'
import { describeTemplate } from './template-fingerprint.js'
import { markUsed, pruneTemplates, TEMPLATES } from './template-store.js'

/** Snapshot of a booted guest that clones start from. */
export interface Template {
  /** Unique name: that of the image and a digest of the fingerprint. */
  readonly name: string
  readonly dir: string
  readonly snapshot: MachineSnapshot
  /**
   * Time to boot the guest and save the snapshot, in milliseconds; undefined if the template was in
   * the cache.
   */
  readonly buildMs: number | undefined
}

/** Reserve for the device state, the disk, and other files that grow in the meantime. */
const SPARE_BYTES = 32 * MIB
const FILES = {
  memory: 'memory',
  state: 'state',
  disk: 'disk.qcow2',
  overlay: 'overlay.qcow2',
  log: 'serial.log',
}

/** The snapshot of a booted guest could not be saved. The boot itself succeeded. */
export class TemplateSaveError extends Error {}

/**
 * Returns the template of a machine, from the cache or built now. Other processes that need the
 * same template wait for the build. A template with preparations is built on top of the template
 * with one preparation less.
 *
 * @throws errors of the guest's boot and of the preparations.
 * @throws {TemplateSaveError} when QEMU cannot save the state of this guest, or the guest does
 *   not quiesce.
 * @throws {InfrastructureError} NO_SPACE when the disk is full; TEMPLATE_IN_USE when the template
 *   was changed and guests still use it.
 */
export async function openTemplate(plan: GuestPlan): Promise<Template> {
  const { spec, steps, run } = plan
  const parent = steps.length === 0 ? undefined : await openTemplate({ ...plan, steps: steps.slice(0, -1) })
  const cacheDir = resolveCacheDir()
  const name = basename(spec.image?.name ?? 'guest')
  const inputs = await describePlan(plan, parent)
  const entry = nameEntry(name, inputs)
  const task = parent === undefined ? `booting '${name}'` : `preparing '${name}' (step ${steps.length})`
  const progress = createProgress(`${task} once, as the template of later guests`)
  let buildMs: number | undefined
  let blocked: Promise<Lease> | undefined
  await markUsed(entry, cacheDir)
  try {
    const dir = await openCacheEntry({
      cacheDir,
      folder: TEMPLATES,
      name,
      inputs,
      build: async (building) => {
        await requireUnused(entry, cacheDir)
        if (parent === undefined) await requireTestTime(plan, task)
        const startedAt = performance.now()
        progress.report('booting')
        const to = { building, final: join(cacheDir, TEMPLATES, entry) }
        await buildTemplate(plan, parent, to).catch(async (error: unknown) => {
          if (!hasWrongClock(error)) throw error
          // Clones inherit the clock of the template, and only another boot measures it again.
          if (parent !== undefined) await discardTemplate(parent)
          if (parent !== undefined || run.signal?.aborted) throw error
          run.log(`The template of '${name}' is made again: ${(error.cause as VMError).details.summary}`)
          await removeFiles(building)
          await buildTemplate(plan, parent, to)
        })
        buildMs = performance.now() - startedAt
      },
      onWait: (holder) => {
        progress.report(describeLockWait(holder))
        // The holder of the lock may itself wait for the capacity of guests that wait here.
        blocked = enterBlocked(plan.name)
      },
      signal: run.signal,
    })
    if (buildMs !== undefined) await pruneTemplates({ cacheDir, keep: entry })
    return { name: entry, dir, snapshot: describeFiles(dir, spec), buildMs: sum(buildMs, parent?.buildMs) }
  } finally {
    await (await blocked)?.release()
    progress.end(buildMs === undefined ? undefined : 'done')
  }
}

/** Share of the recorded duration of a boot that the fastest boots still take. */
const LEAST_SHARE = 0.5
/** Sufficient timeout of a test that boots a template on a slow host, in milliseconds. */
const SUFFICIENT_MS = 120_000

/** @throws {UsageError} TEST_TIME_TOO_SHORT when the running test ends before the guest boots. */
async function requireTestTime(plan: GuestPlan, work: string): Promise<void> {
  const leftMs = currentWaitLimit()()
  if (!Number.isFinite(leftMs)) return
  const { durationMs } = await BootHistory.open(plan)
  if (leftMs >= durationMs * LEAST_SHARE) return
  const state = `the last boot took ${formatDuration(durationMs)}`
  const next = 'Later tests start from the template, which takes a fraction of that time.'
  throw testTimeTooShort({ work, leftMs, sufficientMs: SUFFICIENT_MS, state, next })
}

function hasWrongClock(error: unknown): error is TemplateSaveError {
  return (
    error instanceof TemplateSaveError &&
    error.cause instanceof VMError &&
    error.cause.code === 'GUEST_CLOCK_WRONG'
  )
}

async function removeFiles(dir: string): Promise<void> {
  for (const name of Object.values(FILES)) await rm(join(dir, name), { force: true })
}

/** Number of guests of this process that use each template or are being started from it. */
const inUse = new Map<string, number>()

/** Marks a template as used by a guest, until the returned function is called. */
export function noteTemplateUse(name: string): () => void {
  const count = (change: 1 | -1) => void inUse.set(name, (inUse.get(name) ?? 0) + change)
  count(1)
  return () => count(-1)
}

/**
 * Removes an unusable template, unless guests of this or another process use it: after a power cut
 * they boot from its disk.
 * @returns whether the template was removed.
 */
export async function discardTemplate({ name }: Template): Promise<boolean> {
  if ((inUse.get(name) ?? 0) > 0) return false
  return discardEntry(join(resolveCacheDir(), TEMPLATES), name)
}

/**
 * Checks that a template that does not exist or was changed may be made again. After a power cut,
 * guests boot from the disk of their template, so it stays in place while guests use it.
 */
async function requireUnused(name: string, cacheDir: string): Promise<void> {
  const isUsed = (inUse.get(name) ?? 0) > 0 || (await hasEarlierUsers(join(cacheDir, TEMPLATES), name))
  if (!isUsed) return
  throw vmError('TEMPLATE_IN_USE', {
    summary: `The template '${name}' was changed while other guests use it.`,
    hint: 'Run `chown` and `chmod` on the cache only while no tests run.',
  })
}

async function describePlan(
  { spec, host, steps }: GuestPlan,
  parent: Template | undefined,
): Promise<unknown> {
  const step = steps.at(-1)
  if (parent === undefined || step === undefined) return describeTemplate(spec, host)
  const files = await Promise.all((step.files ?? []).map(async (file) => [file, await hashFile(file)]))
  return { parent: parent.name, step: String(step.run), inputs: step.inputs, files }
}

async function buildTemplate(
  { spec, host, steps, run }: GuestPlan,
  parent: Template | undefined,
  { building, final }: { readonly building: string; readonly final: string },
): Promise<void> {
  const { signal } = run
  await checkSpace(building, spec.memoryBytes)
  const memoryFile = join(building, FILES.memory)
  if (parent !== undefined) await copySparse(parent.snapshot.memory, memoryFile, signal)
  const { user } = host
  if (user !== undefined) {
    await chmod(building, 0o711)
    await appendFile(memoryFile, '') // QEMU sets its size, and cannot create files here
    await changeOwner(user, memoryFile, 0o600)
  }
  const guestName = basename(spec.image?.name ?? spec.name)
  const template: GuestPlan = {
    name: newGuestName(guestName),
    spec: {
      ...spec,
      name: guestName,
      forwards: spec.forwards.slice(0, 1),
      network: { ...spec.network, guestForwards: [], sharedFolder: undefined },
    },
    host,
    steps: [],
    run: { ...run, keepMs: undefined },
  }
  const origin = { startedFrom: { kind: 'cold' }, memoryFile, snapshot: parent?.snapshot } as const
  // This guest belongs to no test: only the signal of the waiting caller ends it.
  const guest = await withWaitLimit(
    () => Number.POSITIVE_INFINITY,
    () => bootMachine(template, origin),
  )
  await using vm = guest.vm
  const step = steps.at(-1)
  if (step !== undefined) await runPreparation(step, vm)
  try {
    await saveGuest(guest.machine, guest.session, {
      statePath: join(building, FILES.state),
      isPrepared: parent !== undefined,
      signal,
    })
  } catch (error) {
    signal?.throwIfAborted()
    throw new TemplateSaveError('The snapshot of the guest cannot be saved.', { cause: error })
  }
  // The QEMU of another user may have written a link to a file that the user cannot read.
  const copy = user === undefined ? copyFile : copyWrittenFile
  await copy(guest.machine.workspace.path('serial.log'), join(building, FILES.log))
  if (guest.machine.files.overlay === undefined || spec.image?.disk === undefined) return
  const disk = join(building, FILES.disk)
  const base =
    parent?.snapshot.overlay === undefined ? undefined : await readOverlayBase(parent.snapshot.overlay)
  const { virtualBytes } = await copyWrittenOverlay({
    from: guest.machine.files.overlay,
    to: disk,
    base: base ?? spec.image.disk,
    signal,
  })
  if (user !== undefined) await changeOwner(user, disk, 0o600)
  // Flattened, so it does not depend on its parent templates. Their files may have been changed by
  // the QEMU of `runAs`, so they are opened as that user.
  if (parent !== undefined) await flattenOverlay({ path: disk, base: spec.image.disk, user, signal })
  const overlay = join(building, FILES.overlay)
  const finalDisk = { path: join(final, FILES.disk), format: 'qcow2' } as const
  await createOverlay({ base: finalDisk, path: overlay, virtualBytes, signal })
  if (user !== undefined) await changeOwner(user, overlay, 0o600)
}

/** Checks the free space first: a guest whose RAM file does not fit is killed without notice. */
async function checkSpace(dir: string, memoryBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir)
  const neededBytes = memoryBytes + SPARE_BYTES
  if (bavail * bsize < neededBytes) {
    throw noSpaceError(
      `saving the snapshot of a guest takes up to ${formatBytes(neededBytes)} in ${dirname(dir)}`,
    )
  }
}

function describeFiles(dir: string, spec: MachineSpec): MachineSnapshot {
  return {
    memory: join(dir, FILES.memory),
    state: join(dir, FILES.state),
    serialLog: join(dir, FILES.log),
    overlay: spec.image?.disk === undefined ? undefined : join(dir, FILES.overlay),
  }
}

function sum(first: number | undefined, second: number | undefined): number | undefined {
  return first === undefined && second === undefined ? undefined : (first ?? 0) + (second ?? 0)
}
