import { basename, join } from 'node:path'
import type { Lease } from '../budget/lease.js'
import { enterBlocked } from '../budget/take-lease.js'
import { nameEntry, openCacheEntry } from '../cache/cache.js'
import { describeLockWait } from '../cache/entry-lock.js'
import { hashFile } from '../cache/entry-manifest.js'
import { discardEntry, hasEarlierUsers } from '../cache/entry-store.js'
import { resolveCacheDir } from '../common/cache-dir.js'
import { formatDuration } from '../common/duration.js'
import { createProgress } from '../common/progress.js'
import { currentWaitLimit, testTimeTooShort } from '../common/wait-limit.js'
import { VMError, vmError } from '../errors.js'
import type { GuestPlan, MachineSnapshot } from '../vm/machine/guest-plan.js'
import { BootHistory } from '../vm/power/boot-history.js'
import { buildTemplate, TemplateSaveError } from './build-template.js'
import { identifyFiles } from './input-files.js'
import { describeFiles, removeFiles } from './template-files.js'
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
        const to = { parent: parent?.snapshot, building, final: join(cacheDir, TEMPLATES, entry) }
        await buildTemplate(plan, to).catch(async (error: unknown) => {
          if (!hasWrongClock(error)) throw error
          // Clones inherit the clock of the template, and only another boot measures it again.
          if (parent !== undefined) await discardTemplate(parent)
          if (parent !== undefined || run.signal?.aborted) throw error
          run.log(`The template of '${name}' is made again: ${(error.cause as VMError).details.summary}`)
          await removeFiles(building)
          await buildTemplate(plan, to)
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
  if (parent === undefined || step === undefined)
    return describeTemplate(spec, host, await identifyFiles(spec, host))
  const files = await Promise.all((step.files ?? []).map(async (file) => [file, await hashFile(file)]))
  return { parent: parent.name, step: String(step.run), inputs: step.inputs, files }
}

function sum(first: number | undefined, second: number | undefined): number | undefined {
  return first === undefined && second === undefined ? undefined : (first ?? 0) + (second ?? 0)
}
