import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hashInputs } from '../cache/cache.js'
import { resolveCacheDir } from '../common/cache-dir.js'
import { formatDuration } from '../common/duration.js'
import { currentWaitLimit } from '../common/wait-limit.js'
import { VMError } from '../errors.js'
import type { Preparation } from '../spec/image-definition.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { type BootedGuest, type BootOptions, bootMachine } from '../vm/boot/boot.js'
import type { VM } from '../vm/guest/vm.js'
import type { MachineHost } from '../vm/machine/machine.js'
import { findClosedFolder } from '../vm/machine/reach.js'
import { TemplateRefusals } from './refusals.js'
import { type StandbyMaking, StandbyPool } from './standby.js'
import {
  discardTemplate,
  noteTemplateUse,
  openTemplate,
  type Template,
  TemplateSaveError,
} from './template.js'
import { TEMPLATES } from './template-store.js'

/** A guest that is to be started. */
export interface GuestOrder {
  readonly spec: MachineSpec<VM>
  readonly host: MachineHost
  /** What was done in the guest that it goes on from. */
  readonly steps: readonly Preparation<VM>[]
  readonly settings: Omit<BootOptions, 'startedFrom' | 'snapshot' | 'memoryFile' | 'onProcess' | 'onEvict'>
  /** Whether the next is made ready meanwhile; undefined: where it is likely to be wanted. */
  readonly standby: boolean | undefined
}

/** A guest went on from a template, or could not. */
export type WarmStart =
  | { readonly guest: BootedGuest }
  | {
      /** Why it has to be booted. */
      readonly coldReason: string
    }

const pool = new StandbyPool()
const refusals = new TemplateRefusals()

/**
 * Starts a guest from its template, or takes one that stands by. What is wrong with a template is not the author's
 * fault: it is made again, and where that does not help, the guest is to be booted.
 *
 * @throws what the boot of the template's guest throws, and what its preparation does.
 */
export async function startWarm(order: GuestOrder): Promise<WarmStart> {
  const key = standbyKey(order)
  const { signal, log } = order.settings
  const ready = await pool.take(key, signal)
  if (ready !== undefined) {
    const { startedFrom } = ready.machine
    ready.machine.log = log
    ready.machine.waitLimit = currentWaitLimit()
    ready.machine.translated = order.settings.translated ?? []
    ready.machine.notCarriedOver = order.settings.notCarriedOver ?? []
    if (startedFrom.kind !== 'cold')
      ready.machine.startedFrom = { kind: 'standby', template: startedFrom.template }
    follow(ready, order, key)
    return { guest: ready }
  }
  const start = await startFromTemplate(order)
  if ('guest' in start) follow(start.guest, order, key)
  return start
}

function follow(guest: BootedGuest, order: GuestOrder, key: string): void {
  const start = async ({ signal, ...making }: StandbyMaking) => {
    // It outlives whoever asks for it, and tells nobody of what it does.
    const settings = { ...order.settings, signal, artifacts: undefined, log: () => {} }
    const template = await openTemplate({ ...order, settings })
    return startClone({ ...order, settings }, template, making)
  }
  pool.follow(guest, { key, isTemporary: order.settings.tmpdir !== undefined, start }, order.standby)
}

/** Returns why the user of `runAs` cannot reach templates: a template is in the cache, and QEMU opens its files. */
export async function findClosedCache({ user }: Pick<MachineHost, 'user'>): Promise<string | undefined> {
  if (user === undefined) return undefined
  const templates = join(resolveCacheDir(), TEMPLATES)
  try {
    await mkdir(templates, { recursive: true, mode: 0o700 })
    await chmod(templates, 0o711)
  } catch (error) {
    return `the user '${user.name}' of \`runAs\` cannot be let into ${templates}: ${(error as Error).message}`
  }
  const folder = await findClosedFolder(user, join(templates, 'one'))
  return folder && `the user '${user.name}' of \`runAs\` cannot go into ${folder}, on the way to templates`
}

/**
 * A clone that does not answer in time is started again: the host may be busy, and the template whole. A template that cannot be
 * used is made again once: it may be damaged. Where that fails too, this guest is booted cold; a later one tries again, unless
 * QEMU cannot save the machine at all.
 */
async function startFromTemplate(order: GuestOrder): Promise<WarmStart> {
  const closed = await findClosedCache(order.host)
  if (closed !== undefined) return { coldReason: closed }
  const key = hashInputs([order.spec.image?.identity, describeTemplateRequest(order)])
  const known = refusals.find(key)
  if (known !== undefined) return { coldReason: known }
  const { log, signal } = order.settings
  let isFirst = true
  let wasSlow = false
  for (;;) {
    let template: Template | undefined
    try {
      template = await openTemplate(order)
      const guest = await startClone(order, template)
      refusals.forget(key)
      return { guest }
    } catch (error) {
      signal?.throwIfAborted()
      if (!isTemplatesFault(error, template)) throw error
      const reason = `its template could not be ${template === undefined ? 'saved' : 'used'}: ${summaryOf(error)}`
      if (template !== undefined && isFirst && !wasSlow && isSlow(error)) {
        wasSlow = true
        log(`'${order.spec.name}' is started again from its template: ${summaryOf(error)}`)
        continue
      }
      if (template !== undefined && !(await discardTemplate(template)))
        return { coldReason: `${reason}; other guests use that template` }
      if (isFirst && template !== undefined) {
        isFirst = false
        log(`the template ${template.name} is made again: ${summaryOf(error)}`)
        continue
      }
      const delayMs = refusals.note(key, { reason, isLasting: isLasting(error) })
      log(`'${order.spec.name}' is booted cold: ${reason}. ${describeRetry(delayMs)} Fix: ${hintOf(error)}`)
      return { coldReason: reason }
    }
  }
}

async function startClone(
  { spec, host, settings }: GuestOrder,
  { name, snapshot, buildMs }: Template,
  making: Pick<BootOptions, 'onProcess' | 'onEvict'> = {},
): Promise<BootedGuest> {
  const startedFrom = { kind: 'template', template: name, buildMs } as const
  // From before its QEMU opens the files: a template that another guest finds unusable meanwhile must stay.
  const endUse = noteTemplateUse(name)
  try {
    const guest = await bootMachine(spec, host, { ...settings, ...making, snapshot, startedFrom })
    void guest.disposed.then(endUse)
    return guest
  } catch (error) {
    endUse()
    throw error
  }
}

/** A boot that fails would fail without a template too; what QEMU does not take, or a full disk, would not. */
function isTemplatesFault(error: unknown, template: Template | undefined): boolean {
  if (error instanceof TemplateSaveError) return true
  if (!(error instanceof VMError)) return template !== undefined && isMissing(error, template)
  if (template === undefined) return ['NO_SPACE', 'CACHE_READ_ONLY'].includes(error.code)
  return [
    'QMP_FAILED',
    'QEMU_FAILED',
    'QEMU_DIED',
    'IDENTITY_AGENT_SILENT',
    'BOOT_TIMEOUT',
    'GUEST_PANICKED',
  ].includes(error.code)
}

/** Another process may have removed the template since it was found. */
function isMissing(error: unknown, { dir }: Template): boolean {
  const { code, path } = error as NodeJS.ErrnoException
  return code === 'ENOENT' && path?.startsWith(dir) === true
}

/** A guest that did not do something in time, as all guests of a busy host may. */
function isSlow(error: unknown): boolean {
  return error instanceof VMError && ['IDENTITY_AGENT_SILENT', 'BOOT_TIMEOUT'].includes(error.code)
}

/** QEMU answers the same however often it is asked. All else may be due to the load of the host. */
function isLasting(error: unknown): boolean {
  const cause = causeOf(error)
  return cause instanceof VMError && cause.code === 'SAVE_UNSUPPORTED'
}

function causeOf(error: unknown): unknown {
  return error instanceof TemplateSaveError ? error.cause : error
}

function summaryOf(error: unknown): string {
  const cause = causeOf(error)
  return (cause instanceof VMError ? cause.details.summary : String(cause)).replace(/\.$/, '')
}

function hintOf(error: unknown): string {
  const cause = causeOf(error)
  return cause instanceof VMError ? cause.hint : "Run fewer guests at a time, or set `start: 'cold'`."
}

function describeRetry(delayMs: number): string {
  if (delayMs === 0) return 'The next guest tries again.'
  return Number.isFinite(delayMs)
    ? `The next guest tries again after ${formatDuration(delayMs)}.`
    : 'All guests of this machine are booted cold.'
}

/** Guests are alike where they have the same machine, the same names and ports, and the same folder for their files. */
function standbyKey(order: GuestOrder): string {
  const { name, forwards, network, timeouts } = order.spec
  return hashInputs([
    describeTemplateRequest(order),
    name,
    forwards,
    network,
    timeouts,
    order.settings.tmpdir,
  ])
}

function describeTemplateRequest({ spec, host, steps }: GuestOrder): unknown {
  const { image: _, name: _name, forwards: _forwards, ready, ...machine } = spec
  return [
    machine,
    String(ready),
    host.accelerator,
    host.qemu.identity,
    host.user?.name,
    spec.image?.identity,
    steps.map(({ run, inputs, files }) => [String(run), inputs, files]),
  ]
}
