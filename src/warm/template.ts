import { appendFile, chmod, copyFile, rm, statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Lease } from '../budget/lease.js'
import { enterBlocked } from '../budget/take-lease.js'
import { nameEntry, openCacheEntry } from '../cache/cache.js'
import { describeLockWait } from '../cache/entry-lock.js'
import { hashFile } from '../cache/entry-manifest.js'
import { discardEntry } from '../cache/entry-store.js'
import { resolveCacheDir } from '../common/cache-dir.js'
import { copySparse } from '../common/files/sparse-copy.js'
import { giveTo } from '../common/process/host-user.js'
import { noSpaceError } from '../common/process/run-tool.js'
import { createProgress } from '../common/progress.js'
import { formatBytes } from '../common/units.js'
import { withWaitLimit } from '../common/wait-limit.js'
import { createOverlay, flattenOverlay } from '../disk/overlay.js'
import { copyWrittenFile, copyWrittenOverlay, readOverlayBase } from '../disk/written-overlay.js'
import { VMError } from '../errors.js'
import type { Preparation } from '../spec/image-definition.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { type BootOptions, bootMachine } from '../vm/boot/boot.js'
import type { VM } from '../vm/guest/vm.js'
import type { MachineHost, MachineSnapshot } from '../vm/machine/machine.js'
import { saveGuest } from '../vm/power/save-state.js'
import { describeTemplate } from './template-fingerprint.js'
import { markUsed, pruneTemplates, TEMPLATES } from './template-store.js'

/** A guest that was booted once and snapshot: others go on from where it had come to. */
export interface Template {
  /** Its name among all: the image's, and a digest of all that it depends on. */
  readonly name: string
  readonly dir: string
  readonly snapshot: MachineSnapshot
  /** What it took to boot and freeze it, milliseconds; undefined where it was there already. */
  readonly buildMs: number | undefined
}

/** For the state, the disk, and what else grows meanwhile. */
const SPARE_BYTES = 32 * 1024 ** 2
const FILES = {
  memory: 'memory',
  state: 'state',
  disk: 'disk.qcow2',
  overlay: 'overlay.qcow2',
  log: 'serial.log',
}

/** A guest that booted could not be snapshot: its boot was not at fault. */
export class TemplateSaveError extends Error {}

/** What a template is made of: a machine, and what is done in it. */
export interface TemplatePlan {
  readonly spec: MachineSpec<VM>
  readonly host: MachineHost
  readonly steps: readonly Preparation<VM>[]
  readonly settings: Omit<BootOptions, 'startedFrom'>
}

/**
 * Gives the template of a machine: from the cache, or made now, while other processes that want it wait. One with steps
 * goes on from that of the steps before.
 *
 * @throws what a boot of the guest throws, and what a step throws.
 * @throws {TemplateSaveError} when QEMU cannot save the state of this machine, or the guest does not come to rest.
 * @throws {InfrastructureError} NO_SPACE when the disk is full.
 */
export async function openTemplate(plan: TemplatePlan): Promise<Template> {
  const { spec, steps, settings } = plan
  const parent = steps.length === 0 ? undefined : await openTemplate({ ...plan, steps: steps.slice(0, -1) })
  const cacheDir = resolveCacheDir()
  const name = basename(spec.image?.name ?? 'guest')
  const inputs = await describePlan(plan, parent)
  const entry = nameEntry(name, inputs)
  const what = parent === undefined ? `booting '${name}' once` : `preparing '${name}' (step ${steps.length})`
  const progress = createProgress(`${what}, for all guests to go on from`)
  let buildMs: number | undefined
  let heldUp: Promise<Lease> | undefined
  await markUsed(entry, cacheDir)
  try {
    const dir = await openCacheEntry({
      cacheDir,
      folder: TEMPLATES,
      name,
      inputs,
      build: async (building) => {
        const startedAt = performance.now()
        progress.report('booting')
        const to = { building, final: join(cacheDir, TEMPLATES, entry) }
        await buildTemplate(plan, parent, to).catch(async (error: unknown) => {
          if (!hasWrongClock(error)) throw error
          // The clock of a clone is that of its template: only another boot has another.
          if (parent !== undefined) await discardTemplate(parent)
          if (parent !== undefined || settings.signal?.aborted) throw error
          settings.log(`the template of '${name}' is made again: ${(error.cause as VMError).details.summary}`)
          await removeFiles(building)
          await buildTemplate(plan, parent, to)
        })
        buildMs = performance.now() - startedAt
      },
      onWait: (holder) => {
        progress.report(describeLockWait(holder))
        // That one may itself wait for the room of guests that wait here.
        heldUp = enterBlocked(spec.name)
      },
      signal: settings.signal,
    })
    if (buildMs !== undefined) await pruneTemplates({ cacheDir, keep: entry })
    return { name: entry, dir, snapshot: describeFiles(dir, spec), buildMs: sum(buildMs, parent?.buildMs) }
  } finally {
    await (await heldUp)?.release()
    progress.end(buildMs === undefined ? undefined : 'done')
  }
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

/** How many guests of this process come from each template, or are being started from it. */
const inUse = new Map<string, number>()

/** Notes that a guest comes from a template, until the function that is returned is called. */
export function noteTemplateUse(name: string): () => void {
  const count = (change: 1 | -1) => void inUse.set(name, (inUse.get(name) ?? 0) + change)
  count(1)
  return () => count(-1)
}

/**
 * Removes a template that cannot be used, unless guests of this or another process use it: after a power cut they boot from its disk.
 * @returns whether it is gone.
 */
export async function discardTemplate({ name }: Template): Promise<boolean> {
  if ((inUse.get(name) ?? 0) > 0) return false
  return discardEntry(join(resolveCacheDir(), TEMPLATES), name)
}

async function describePlan(
  { spec, host, steps }: TemplatePlan,
  parent: Template | undefined,
): Promise<unknown> {
  const step = steps.at(-1)
  if (parent === undefined || step === undefined) return describeTemplate(spec as MachineSpec<never>, host)
  const files = await Promise.all((step.files ?? []).map(async (file) => [file, await hashFile(file)]))
  return { parent: parent.name, step: String(step.run), inputs: step.inputs, files }
}

async function buildTemplate(
  { spec, host, steps, settings }: TemplatePlan,
  parent: Template | undefined,
  { building, final }: { readonly building: string; readonly final: string },
): Promise<void> {
  const { signal } = settings
  await checkSpace(building, spec.memoryBytes)
  const memoryFile = join(building, FILES.memory)
  if (parent !== undefined) await copySparse(parent.snapshot.memory, memoryFile, signal)
  const { user } = host
  if (user !== undefined) {
    await chmod(building, 0o711)
    await appendFile(memoryFile, '') // QEMU gives it its size, and may make no file here
    await giveTo(user, memoryFile, 0o600)
  }
  const boot = () =>
    bootMachine(
      {
        ...spec,
        name: basename(spec.image?.name ?? spec.name),
        forwards: spec.forwards.slice(0, 1),
        network: { ...spec.network, guestForwards: [], sharedFolder: undefined },
      },
      host,
      {
        ...settings,
        keepMs: undefined,
        memoryFile,
        snapshot: parent?.snapshot,
        startedFrom: { kind: 'cold' },
      },
    )
  // It is no test's guest: the signal of who waits for it ends it.
  const guest = await withWaitLimit(() => Number.POSITIVE_INFINITY, boot)
  await using vm = guest.vm
  if (parent !== undefined) await steps.at(-1)?.run(vm)
  try {
    await saveGuest(guest.machine, guest.session, { statePath: join(building, FILES.state), signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw new TemplateSaveError('the guest cannot be frozen', { cause: error })
  }
  // What another user's QEMU has written may be a link to what that user may not read.
  const copy = user === undefined ? copyFile : copyWrittenFile
  await copy(guest.machine.workspace.path('serial.log'), join(building, FILES.log))
  if (guest.machine.overlay === undefined || spec.image?.disk === undefined) return
  const disk = join(building, FILES.disk)
  const base =
    parent?.snapshot.overlay === undefined ? undefined : await readOverlayBase(parent.snapshot.overlay)
  const { virtualBytes } = await copyWrittenOverlay({
    from: guest.machine.overlay,
    to: disk,
    base: base ?? spec.image.disk,
    signal,
  })
  if (user !== undefined) await giveTo(user, disk, 0o600)
  // It is not to need the templates that it has come from, which the user's QEMU may have written to: that user opens them.
  if (parent !== undefined) await flattenOverlay({ path: disk, base: spec.image.disk, user, signal })
  const overlay = join(building, FILES.overlay)
  const finalDisk = { path: join(final, FILES.disk), format: 'qcow2' } as const
  await createOverlay({ base: finalDisk, path: overlay, virtualBytes, signal })
  if (user !== undefined) await giveTo(user, overlay, 0o600)
}

/** A guest whose RAM finds no place on the disk is killed in the middle of what it does. */
async function checkSpace(dir: string, memoryBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir)
  const wanted = memoryBytes + SPARE_BYTES
  if (bavail * bsize < wanted) {
    throw noSpaceError(`freezing a guest takes up to ${formatBytes(wanted)} in ${dirname(dir)}`)
  }
}

function describeFiles(dir: string, spec: MachineSpec<VM>): MachineSnapshot {
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
