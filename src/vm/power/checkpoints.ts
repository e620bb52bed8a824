import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import { nearestNames } from '../../common/nearest-name.js'
import { type VMError, vmError } from '../../errors.js'
import { buildClockMessage } from '../../provisioning/guest-identity.js'
import { findAgentArch } from '../../provisioning/identity-agent/target.js'
import { diskNode } from '../../qemu/argv/disks.js'
import { restoresTime } from '../../spec/architectures.js'
import { isName } from '../../spec/guest-name.js'
import { makeScratchDisk } from '../machine/disks.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { firstStage, stageLimitMs } from './readiness.js'
import { hasIdentityAgent } from './restore-state.js'

/** Timeout of a job, which writes RAM to a disk or reads it, in milliseconds. */
const JOB_MS = 120_000
/** Block node that holds the RAM of the checkpoints of a guest without a system disk. */
const SCRATCH_NODE = 'checkpoints'

/** Checkpoints (RAM and disk) of a running guest. A power-off invalidates them. */
export class Checkpoints {
  readonly #machine: Machine
  /** Devices that were plugged in, by checkpoint. */
  readonly #names = new Map<string, readonly string[]>()
  #session: Session | undefined
  /** Block node to which RAM is written. */
  #target: string | undefined
  #jobs = 0

  constructor(machine: Machine) {
    this.#machine = machine
  }

  /** Returns the names of the checkpoints, oldest first. */
  names(session: Session): readonly string[] {
    return this.#session === session ? [...this.#names.keys()] : []
  }

  async save(name: string, session: Session, signal: AbortSignal): Promise<void> {
    if (!isName(name)) throw invalidCheckpointNameError(name)
    if (!restoresTime(this.#machine.spec.arch)) throw noTimeError(this.#machine.name)
    if (this.#session !== session) {
      this.#names.clear()
      this.#target = undefined
    }
    this.#session = session
    this.#target ??= await this.#openTarget(session, signal)
    // The new checkpoint replaces an existing one: names in QEMU are unique.
    await this.#run(session, 'snapshot-delete', name, signal)
    this.#names.delete(name)
    await this.#run(session, 'snapshot-save', name, signal)
    this.#names.set(name, [...session.pluggedDevices.keys()])
  }

  /** @param options.disconnect closes the connections to the guest. */
  async restore(
    name: string,
    session: Session,
    { disconnect, signal }: { readonly disconnect: () => void; readonly signal: AbortSignal },
  ): Promise<void> {
    const known = this.names(session)
    if (!known.includes(name)) throw unknownCheckpointError(name, known)
    requireSameDevices(name, this.#names.get(name) ?? [], session.pluggedDevices)
    disconnect()
    await this.#run(session, 'snapshot-load', name, signal)
    disconnect()
    const { status } = await session.qmp.execute('query-status', {}, { signal })
    if (status !== 'running') await session.resume({ signal })
    // A later reset or panic is undone by the restore.
    session.watch.restart(firstStage(this.#machine))
    session.watch.enter('login')
    session.watch.markReady()
    const arch = findAgentArch(this.#machine.spec.arch)
    if (!hasIdentityAgent(this.#machine) || arch === undefined) return
    const timeoutMs = stageLimitMs(this.#machine, 'login')
    await this.#machine.identityAgent.send(buildClockMessage(arch, this.#machine.clock.now()), {
      timeoutMs,
      signal,
    })
  }

  /** Returns the node for the RAM: the system disk, or a disk that is not part of the machine. */
  async #openTarget({ qmp }: Session, signal: AbortSignal): Promise<string> {
    const { files, workspace, host, diskUse } = this.#machine
    if (files.overlay !== undefined) return diskNode(0, files.overlay.layers)
    const path = await makeScratchDisk(workspace, SCRATCH_NODE, host.user)
    const fileNode = `${SCRATCH_NODE}-file`
    const file = { driver: 'file', filename: path, 'node-name': fileNode }
    await qmp.execute('blockdev-add', { driver: 'qcow2', 'node-name': SCRATCH_NODE, file }, { signal })
    diskUse.add({ path, node: fileNode })
    return SCRATCH_NODE
  }

  async #run(session: Session, job: Job, name: string, signal: AbortSignal): Promise<void> {
    const { qmp } = session
    const { overlay } = this.#machine.files
    const vmstate = (overlay === undefined ? this.#target : undefined) ?? diskNode(0, overlay?.layers)
    const id = `withvm-${++this.#jobs}`
    const wait = { timeoutMs: JOB_MS * this.#machine.host.timeFactor, signal }
    const concluded = qmp.waitForEvent('JOB_STATUS_CHANGE', {
      ...wait,
      predicate: ({ data }) => data.id === id && data.status === 'concluded',
    })
    const target = job === 'snapshot-delete' ? {} : { vmstate }
    const devices = await findWrittenDisks(qmp, vmstate)
    await qmp.execute(job, { 'job-id': id, tag: `withvm-${name}`, ...target, devices }, wait)
    await concluded
    const problem = await endJob(qmp, id)
    if (problem !== undefined) throw checkpointFailedError(job, name, problem)
  }
}

/**
 * Returns the nodes of all writable qcow2 disks, plugged ones included: their content is restored
 * with the guest.
 *
 * @param first node for the RAM.
 */
async function findWrittenDisks(qmp: QmpClient, first: string): Promise<string[]> {
  const disks = await qmp.execute('query-block')
  const written = disks.flatMap(({ inserted }) =>
    inserted?.ro === false && inserted.drv === 'qcow2' ? [inserted['node-name'] ?? ''] : [],
  )
  return [first, ...written.filter((node) => node !== '' && node !== first)]
}

/**
 * Throws unless the present devices are those of the checkpoint, which QEMU requires for a restore.
 */
function requireSameDevices(name: string, then: readonly string[], now: ReadonlyMap<string, string>): void {
  const added = [...now.keys()].filter((id) => !then.includes(id))
  const missing = then.filter((id) => !now.has(id))
  if (added.length === 0 && missing.length === 0) return
  const list = (what: string, ids: readonly string[]) =>
    ids.length === 0 ? [] : [`${what} ${ids.join(', ')}`]
  throw vmError('CHECKPOINT_FAILED', {
    summary: `The checkpoint '${name}' could not be restored: the plugged devices differ.`,
    expected: then.length === 0 ? 'none' : then.join(', '),
    got: [...list('added:', added), ...list('missing:', missing)].join('; '),
    hint:
      missing.length === 0
        ? 'Unplug the added devices (`await disk.unplug()`) before `vm.restore()`.'
        : 'Create the checkpoint after the device is unplugged: unplugged devices cannot be restored.',
  })
}

const MAX_ERROR_CHARS = 1000

type Job = 'snapshot-save' | 'snapshot-load' | 'snapshot-delete'

/** Dismisses a concluded job. Returns its error, if it failed. */
async function endJob(qmp: QmpClient, id: string): Promise<string | undefined> {
  const jobs = (await qmp.execute('query-jobs')) as ReadonlyArray<{
    readonly id: string
    readonly error?: string
  }>
  await qmp.execute('job-dismiss', { id })
  // QEMU may be compromised: patterns are matched against a short text only.
  return jobs.find((job) => job.id === id)?.error?.slice(0, MAX_ERROR_CHARS)
}

function checkpointFailedError(job: Job, name: string, got: string): VMError {
  const verb = job === 'snapshot-load' ? 'restored' : 'created'
  const isFull = /No space left on device/.test(got)
  const format = /The (\w+) format used by node .* does not support live migration/.exec(got)?.[1]
  const ofDevice =
    format === undefined
      ? 'Remove the device that cannot be saved, or start a new guest instead.'
      : `Convert the image to qcow2 (\`qemu-img convert -O qcow2\`), or start a new guest instead: QEMU cannot save a guest with a ${format} disk, even as a backing file.`
  return vmError(isFull ? 'NO_SPACE' : 'CHECKPOINT_FAILED', {
    summary: `The checkpoint '${name}' could not be ${verb}.`,
    got,
    hint: isFull
      ? 'Free disk space, or set `tmpdir` to a folder with more space: a checkpoint is as large as the RAM that the guest uses.'
      : ofDevice,
  })
}

function invalidCheckpointNameError(name: string): VMError {
  return vmError('INVALID_OPTIONS', {
    summary: 'The name of the checkpoint is invalid.',
    expected: "1 to 60 letters, digits, '.', '_' or '-', starting with a letter or digit",
    got: JSON.stringify(name) ?? String(name),
    hint: 'Choose another name.',
  })
}

function noTimeError(guest: string): VMError {
  return vmError('CHECKPOINT_FAILED', {
    summary: `The guest '${guest}' cannot save a checkpoint: QEMU does not restore the time base of POWER processors.`,
    hint: 'Start a new guest instead: timers of a restored guest would stop.',
  })
}

function unknownCheckpointError(name: string, known: readonly string[]): VMError {
  const near = nearestNames(name, known)
  return vmError('INVALID_OPTIONS', {
    summary: `The checkpoint '${name}' does not exist.`,
    expected: near.length > 0 ? near.map((one) => `'${one}'`).join(' or ') : known.join(', ') || '(none)',
    got: `'${name}'`,
    hint: 'Create it with `vm.checkpoint()`. Checkpoints are lost when the guest is powered off.',
  })
}
