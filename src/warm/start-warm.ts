import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hashInputs } from '../cache/cache.js'
import { resolveCacheDir } from '../common/cache-dir.js'
import { formatDuration } from '../common/duration.js'
import { VMError } from '../errors.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { type BootedGuest, bootMachine, type StandbyHooks } from '../vm/boot/boot.js'
import { findClosedFolder } from '../vm/machine/file-access.js'
import type { GuestPlan, MachineHost, StartedFrom } from '../vm/machine/guest-plan.js'
import { newGuestName } from '../vm/workspace/guest-name.js'
import { TemplateSaveError } from './build-template.js'
import { hasHub } from './eligibility.js'
import { identifyFiles } from './input-files.js'
import { findRefusal, noteRefusal } from './refusals.js'
import { type StandbyCallbacks, StandbyPool } from './standby.js'
import { discardTemplate, noteTemplateUse, openTemplate, type Template } from './template.js'
import { TemplateFailures } from './template-failures.js'
import { isProbed } from './template-files.js'
import { TEMPLATES } from './template-store.js'

/** The result of a warm start: a guest, or why it needs a cold boot. */
export type WarmStart =
  | { readonly guest: BootedGuest }
  | {
      /** Reason for a cold boot. */
      readonly coldReason: string
      /** Name for that guest. A clone that failed may still run under the name of the plan. */
      readonly name: string
    }

const pool = new StandbyPool()
const failures = new TemplateFailures()

/**
 * Starts a guest from its template or takes a standby. A damaged template is made again. If that
 * fails too, the result asks for a cold boot.
 *
 * @throws errors of the template's boot and of its preparations.
 */
export async function startWarm(plan: GuestPlan): Promise<WarmStart> {
  const request = await describeTemplateRequest(plan)
  if (!canHaveStandby(plan)) return startFromTemplate(plan, request)
  const fingerprint = standbyFingerprint(plan, request)
  const standby = await pool.take(fingerprint, plan.run.signal)
  if (standby !== undefined) {
    const { startedFrom } = standby.machine.owner
    const { template } = startedFrom as Extract<StartedFrom, { kind: 'template' | 'standby' }>
    standby.machine.assign(plan.run, { kind: 'standby', template })
    scheduleStandbys(standby, plan, fingerprint)
    return { guest: standby }
  }
  const start = await startFromTemplate(plan, request)
  if ('guest' in start) scheduleStandbys(start.guest, plan, fingerprint)
  return start
}

/**
 * Returns true if a guest for a later test can be started now. Functions belong to one test. A
 * window would appear on the screen, two guests at a time may not be able to use `qemuArgs` or a
 * given address of the host, a card on a hub would receive what other guests send before the test,
 * and a guest without an identity agent cannot be told the time when it resumes.
 */
function canHaveStandby({ spec, run }: GuestPlan): boolean {
  const { identity, ready, network, furtherNetworks, display, qemuArgs } = spec
  const forwards = [network, ...furtherNetworks].flatMap(({ guestForwards }) => guestForwards)
  const hasFunctions = typeof ready === 'function' || forwards.some(({ service }) => 'handler' in service)
  const isPossible = identity === 'own' && !hasFunctions && !hasHub(spec) && display.window === undefined
  return isPossible && !hasGivenAddress(spec) && (qemuArgs.length === 0 || run.standby === true)
}

/** Returns true if a server of QEMU listens at an address that the options specify. */
function hasGivenAddress({ display: { vnc, spice }, debug: { gdb } }: MachineSpec): boolean {
  const addresses = [vnc?.display, vnc?.socket, vnc?.websocket, spice?.port, gdb]
  return addresses.some((address) => typeof address === 'number' || typeof address === 'string')
}

function scheduleStandbys(guest: BootedGuest, plan: GuestPlan, fingerprint: string): void {
  const start = async ({ signal, ...callbacks }: StandbyCallbacks) => {
    // A standby outlives the test that starts it, so it gets no log and no artifacts of that test.
    const own = {
      ...plan,
      name: newGuestName(plan.spec.name),
      run: { ...plan.run, signal, artifacts: undefined, log: () => {} },
    }
    return startClone(own, await openTemplate(own), callbacks)
  }
  pool.follow(guest, { fingerprint, isTemporary: plan.run.tmpdir !== undefined, start }, plan.run.standby)
}

/**
 * Returns why the user of `runAs` cannot reach templates, whose files in the cache are opened by
 * QEMU; undefined if it can.
 */
export async function findClosedCache({ user }: Pick<MachineHost, 'user'>): Promise<string | undefined> {
  if (user === undefined) return undefined
  const templates = join(resolveCacheDir(), TEMPLATES)
  try {
    await mkdir(templates, { recursive: true, mode: 0o700 })
    await chmod(templates, 0o711)
  } catch (error) {
    return `the user '${user.name}' of \`runAs\` cannot be given access to ${templates}: ${(error as Error).message}`
  }
  const folder = await findClosedFolder(user, join(templates, 'any'))
  return folder && `the user '${user.name}' of \`runAs\` cannot enter ${folder}, which contains the templates`
}

/**
 * Retries a clone that times out once, because the host may be busy. Makes an unusable template
 * again once, because it may be damaged. If that fails too, this guest boots cold and a later guest
 * retries, unless QEMU can never save the machine.
 */
async function startFromTemplate(plan: GuestPlan, described: unknown): Promise<WarmStart> {
  const closed = await findClosedCache(plan.host)
  let { name } = plan
  if (closed !== undefined) return { coldReason: closed, name }
  const request = hashInputs(described)
  const failure = failures.find(request) ?? (isProbed(plan.spec) ? await findRefusal(request) : undefined)
  if (failure !== undefined) return { coldReason: failure, name }
  const { log, signal } = plan.run
  let isFirst = true
  let wasSlow = false
  for (;;) {
    let template: Template | undefined
    try {
      template = await openTemplate(plan)
      const guest = await startClone({ ...plan, name }, template)
      failures.forget(request)
      return { guest }
    } catch (error) {
      // The error of the guest has the evidence that the reason of the signal lacks.
      if (signal?.aborted) throw error instanceof VMError ? error : signal.reason
      if (!isTemplateError(error, template)) throw error
      if (template !== undefined) name = newGuestName(plan.spec.name)
      const reason = `its template could not be ${template === undefined ? 'saved' : 'used'}: ${summaryOf(error)}`
      if (template !== undefined && isFirst && !wasSlow && isSlow(error)) {
        wasSlow = true
        log(`'${name}' is restored from its template again: ${summaryOf(error)}.`)
        continue
      }
      if (template !== undefined && !(await discardTemplate(template)))
        return { coldReason: `${reason}; other guests use that template`, name }
      if (isFirst && template !== undefined) {
        isFirst = false
        log(`The template ${template.name} is made again: ${summaryOf(error)}.`)
        continue
      }
      const delayMs = failures.note(request, { reason, isPermanent: isPermanent(error) })
      if (isPermanent(error) && isProbed(plan.spec)) await noteRefusal(request, reason)
      log(`'${name}' is booted cold: ${reason}. ${describeRetry(delayMs)} Fix: ${hintOf(error)}`)
      return { coldReason: reason, name }
    }
  }
}

function startClone(
  plan: GuestPlan,
  { name, snapshot, buildMs }: Template,
  hooks?: StandbyHooks,
): Promise<BootedGuest> {
  const startedFrom = { kind: 'template', template: name, buildMs } as const
  return bootMachine(plan, { startedFrom, snapshot, noteUse: () => noteTemplateUse(name) }, hooks)
}

/**
 * Returns true if the error is caused by the template. A failed boot would fail without a template
 * too; a state that QEMU rejects or a full disk would not.
 */
function isTemplateError(error: unknown, template: Template | undefined): boolean {
  if (error instanceof TemplateSaveError) return true
  if (!(error instanceof VMError)) return template !== undefined && isMissing(error, template)
  if (template === undefined) return ['NO_SPACE', 'CACHE_READ_ONLY', 'TEMPLATE_IN_USE'].includes(error.code)
  return [
    'QMP_FAILED',
    'QEMU_FAILED',
    'QEMU_DIED',
    'IDENTITY_AGENT_SILENT',
    'IDENTITY_REFUSED',
    'BOOT_TIMEOUT',
    'GUEST_PANICKED',
  ].includes(error.code)
}

/** Returns true if another process has removed the template in the meantime. */
function isMissing(error: unknown, { dir }: Template): boolean {
  const { code, path } = error as NodeJS.ErrnoException
  return code === 'ENOENT' && path?.startsWith(dir) === true
}

/** Returns true if the guest exceeded a time limit, which can happen on a busy host. */
function isSlow(error: unknown): boolean {
  return error instanceof VMError && ['IDENTITY_AGENT_SILENT', 'BOOT_TIMEOUT'].includes(error.code)
}

/**
 * Returns true if retrying is useless: QEMU can never save this machine. Other errors may be due to
 * load of the host.
 */
function isPermanent(error: unknown): boolean {
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
  return cause instanceof VMError ? cause.hint : "Run fewer guests in parallel, or set `start: 'cold'`."
}

function describeRetry(delayMs: number): string {
  if (delayMs === 0) return 'The next guest retries.'
  return Number.isFinite(delayMs)
    ? `The next attempt is in ${formatDuration(delayMs)}.`
    : 'All guests of this kind are booted cold.'
}

/**
 * Returns the fingerprint of a standby: machine, name, ports, network, timeouts and the folder of
 * the files.
 */
function standbyFingerprint(plan: GuestPlan, request: unknown): string {
  const { name, forwards, network, timeouts } = plan.spec
  return hashInputs([request, name, forwards, network, timeouts, plan.run.tmpdir])
}

async function describeTemplateRequest({ spec, host, steps }: GuestPlan): Promise<unknown> {
  const { image: _, name: _name, start: _start, forwards: _forwards, ready, login, ...machine } = spec
  return [
    machine,
    // Patterns and functions have no JSON.
    String(ready),
    login && [login.user, login.password, String(login.prompt)],
    await identifyFiles(spec, host),
    host.accelerator,
    host.qemu.fingerprint,
    host.user?.name,
    spec.image?.fingerprint ?? spec.image?.name,
    steps.map(({ run, inputs, files }) => [String(run), inputs, files]),
  ]
}
