import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import { nearestNames } from '../../common/nearest-name.js'
import { type VMError, vmError } from '../../errors.js'
import { buildClockMessage } from '../../provisioning/guest-identity.js'
import { DISK_NODE } from '../../qemu/argv/disks.js'
import type { Machine } from '../machine/machine.js'
import { pluggedInto } from '../session/plug-registry.js'
import type { Session } from '../session/session.js'
import { firstStage, stageDeadlineMs } from './readiness.js'

/** RAM is written to a disk, and read from it. */
const JOB_MS = 120_000
const NAME = /^[A-Za-z0-9][\w.-]{0,59}$/

/** Named points of one power-on of a guest, RAM and disk, to go back to. */
export class Checkpoints {
  readonly #machine: Machine
  /** Each with what was plugged into the guest then. */
  readonly #names = new Map<string, readonly string[]>()
  #session: Session | undefined
  #jobs = 0

  constructor(machine: Machine) {
    this.#machine = machine
  }

  /** The names of those that are there, in their order. */
  names(session: Session): readonly string[] {
    return this.#session === session ? [...this.#names.keys()] : []
  }

  async save(name: string, session: Session, signal: AbortSignal): Promise<void> {
    if (!NAME.test(name)) throw badName(name)
    if (this.#machine.overlay === undefined) throw noDisk(this.#machine.spec.name)
    if (this.#session !== session) this.#names.clear()
    this.#session = session
    // A name is given to the newest: QEMU has no two of one name.
    await this.#run(session, 'snapshot-delete', name, signal)
    this.#names.delete(name)
    await this.#run(session, 'snapshot-save', name, signal)
    this.#names.set(name, [...pluggedInto(session).keys()])
  }

  /** @param options.disconnect ends what is connected to the guest as it is before that. */
  async restore(
    name: string,
    session: Session,
    { disconnect, signal }: { readonly disconnect: () => void; readonly signal: AbortSignal },
  ): Promise<void> {
    const known = this.names(session)
    if (!known.includes(name)) throw unknown(name, known)
    requireSameDevices(name, this.#names.get(name) ?? [], pluggedInto(session))
    disconnect()
    await this.#run(session, 'snapshot-load', name, signal)
    disconnect()
    const { status } = await session.qmp.execute('query-status', {}, { signal })
    if (status !== 'running') await session.qmp.execute('cont', {}, { signal })
    // Whatever became of the guest since is undone.
    session.watch.restart(firstStage(this.#machine))
    session.watch.enter('login')
    session.watch.markReady()
    if (this.#machine.spec.image?.traits.hasIdentityAgent !== true) return
    const timeoutMs = stageDeadlineMs(this.#machine, 'login')
    await this.#machine.identityAgent.tell(buildClockMessage(), { timeoutMs, signal })
  }

  async #run(session: Session, job: Job, name: string, signal: AbortSignal): Promise<void> {
    const { qmp } = session
    const id = `withvm-${++this.#jobs}`
    const wait = { timeoutMs: JOB_MS * this.#machine.host.timeFactor, signal }
    const concluded = qmp.waitForEvent('JOB_STATUS_CHANGE', {
      ...wait,
      predicate: ({ data }) => data.id === id && data.status === 'concluded',
    })
    const place = job === 'snapshot-delete' ? {} : { vmstate: DISK_NODE }
    const devices = await findWrittenDisks(qmp)
    await qmp.execute(job, { 'job-id': id, tag: `withvm-${name}`, ...place, devices }, wait)
    await concluded
    const problem = await endJob(qmp, id)
    if (problem !== undefined) throw failed(job, name, problem)
  }
}

/** All that the guest writes to goes back with it, also what was plugged in: overlays of ours, which can keep it. */
async function findWrittenDisks(qmp: QmpClient): Promise<string[]> {
  const disks = await qmp.execute('query-block')
  const written = disks.flatMap(({ inserted }) =>
    inserted?.ro === false && inserted.drv === 'qcow2' ? [inserted['node-name'] ?? ''] : [],
  )
  return [DISK_NODE, ...written.filter((node) => node !== '' && node !== DISK_NODE)]
}

/** QEMU takes the state of devices only where there are the same. */
function requireSameDevices(name: string, then: readonly string[], now: ReadonlyMap<string, string>): void {
  const added = [...now.keys()].filter((id) => !then.includes(id))
  const missing = then.filter((id) => !now.has(id))
  if (added.length === 0 && missing.length === 0) return
  const list = (what: string, ids: readonly string[]) =>
    ids.length === 0 ? [] : [`${what} ${ids.join(', ')}`]
  throw vmError('CHECKPOINT_FAILED', {
    summary: `The checkpoint '${name}' could not be gone back to: other devices are plugged in than there were then.`,
    expected: then.length === 0 ? 'none' : then.join(', '),
    got: [...list('added:', added), ...list('missing:', missing)].join('; '),
    hint:
      missing.length === 0
        ? 'unplug what was added (`await disk.unplug()`) before `vm.restore()`.'
        : 'what was unplugged since cannot come back: make the checkpoint after it is unplugged.',
  })
}

type Job = 'snapshot-save' | 'snapshot-load' | 'snapshot-delete'

/** Gives why it failed, if it did. */
async function endJob(qmp: QmpClient, id: string): Promise<string | undefined> {
  const jobs = (await qmp.execute('query-jobs')) as ReadonlyArray<{
    readonly id: string
    readonly error?: string
  }>
  await qmp.execute('job-dismiss', { id })
  return jobs.find((job) => job.id === id)?.error
}

function failed(job: Job, name: string, got: string): VMError {
  const what = job === 'snapshot-load' ? 'gone back to' : 'made'
  const isFull = /No space left on device/.test(got)
  const format = /The (\w+) format used by node .* does not support live migration/.exec(got)?.[1]
  const ofDevice =
    format === undefined
      ? 'a device of this machine cannot be saved: leave it out, or start a new guest instead.'
      : `QEMU saves no guest whose disk is a ${format}, also below an overlay: make a qcow2 of the image (\`qemu-img convert -O qcow2\`), or start a new guest instead.`
  return vmError(isFull ? 'NO_SPACE' : 'CHECKPOINT_FAILED', {
    summary: `The checkpoint '${name}' could not be ${what}.`,
    got,
    hint: isFull
      ? 'a checkpoint takes as much of the disk of this host as the guest uses of its RAM: free some space, or point `tmpdir` at a folder with more.'
      : ofDevice,
  })
}

function badName(name: string): VMError {
  return vmError('INVALID_OPTIONS', {
    summary: 'A checkpoint was given a name that cannot be used.',
    expected: "letters, digits, '.', '_' and '-', up to 60 of them",
    got: JSON.stringify(name) ?? String(name),
    hint: 'choose another.',
  })
}

function noDisk(guest: string): VMError {
  return vmError('CHECKPOINT_FAILED', {
    summary: `The guest '${guest}' has no disk, and a checkpoint is kept on a guest's disk.`,
    hint: 'give it an `image`, or start a new guest instead.',
  })
}

function unknown(name: string, known: readonly string[]): VMError {
  const near = nearestNames(name, known)
  return vmError('INVALID_OPTIONS', {
    summary: `There is no checkpoint '${name}'.`,
    expected:
      near.length > 0 ? near.map((one) => `'${one}'`).join(' or ') : known.join(', ') || '(there is none)',
    got: `'${name}'`,
    hint: 'make it with `vm.checkpoint()`; those of a guest that was switched off are gone.',
  })
}
