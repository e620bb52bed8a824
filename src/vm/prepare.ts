import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { GuestAgent } from '../channel/agent/guest-agent.js'
import { SerialConsole } from '../channel/serial/serial-console.js'
import { generateSshKeyPair, toDropbearHostKey } from '../channel/ssh/keys.js'
import { listenUnix } from '../channel/unix-listener.js'
import type { CleanupStack } from '../common/cleanup-stack.js'
import { settleAll } from '../common/settle-all.js'
import { buildSmbiosStrings } from '../image/credentials.js'
import { createOverlay } from '../image/overlay.js'
import type { QemuProcess } from '../qemu/process.js'
import type { GuestTraits } from '../spec/base-image.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { defaultWaitMs } from './checks/wait-until.js'
import { guardExit } from './exit-guard.js'
import { Keeper } from './keeper.js'
import type { Machine, MachineHost, MachineKeys } from './machine.js'
import { reservePorts } from './port-reservation.js'
import { Transcript } from './transcript.js'
import { openWorkspace, type Workspace } from './workspace.js'

/**
 * Acquires all that a machine needs beside a QEMU: its folder, overlay, ports, sockets and keys. What was
 * acquired is released by `cleanup`, also after a failure half-way.
 *
 * @throws {InfrastructureError} WORKSPACE_FAILED, NO_SPACE, PORT_UNAVAILABLE, TOOL_NOT_FOUND.
 */
export async function prepareMachine(
  spec: MachineSpec,
  host: MachineHost,
  settings: {
    readonly tmpdir: string | undefined
    readonly log: (line: string) => void
    /** How long the guest may be left running; undefined: it ends with this process. */
    readonly keepMs: number | undefined
  },
  cleanup: CleanupStack,
): Promise<Machine> {
  let process: QemuProcess | undefined
  let keeper: Keeper | undefined
  const workspace = await openWorkspace(settings.tmpdir)
  const liftGuard = guardExit(() => {
    if (keeper?.hasGuest) return
    process?.kill('SIGKILL')
    workspace.removeSync()
  })
  cleanup.defer(liftGuard) // last: a signal while the folder is removed finds it guarded
  cleanup.defer(() => (keeper?.hasGuest ? workspace.leave() : workspace.dispose()))
  const { keepMs } = settings
  if (keepMs !== undefined) {
    keeper = await Keeper.start(workspace, keepMs)
    cleanup.defer(() => keeper?.end())
  }
  const acquire = async <T>(acquiring: Promise<T>, release: (acquired: T) => unknown): Promise<T> => {
    const acquired = await acquiring
    cleanup.defer(() => release(acquired))
    return acquired
  }
  const listen = (name: string) => acquire(listenUnix(workspace.socket(name)), (listener) => listener.close())
  const keys = takesKeys(spec) ? { client: generateSshKeyPair(), host: generateSshKeyPair() } : undefined
  const [qmp, serial, agent, smbiosFiles, overlay, ports] = await settleAll([
    listen('qmp.sock'),
    listen('serial.sock'),
    listen('agent.sock'),
    writeCredentials(workspace, spec, keys),
    makeOverlay(workspace, spec),
    reservePorts(spec.forwards),
  ])
  let reservation = ports
  cleanup.defer(() => reservation.release())
  const machine: Machine = {
    id: randomBytes(4).toString('hex'),
    spec,
    host,
    workspace,
    keeper,
    listeners: { qmp, serial, agent },
    serial: new SerialConsole({
      logPath: workspace.path('serial.log'),
      defaultTimeout: defaultWaitMs(host),
    }),
    transcripts: { qmp: new Transcript(), commands: new Transcript() },
    agent: new GuestAgent(),
    keys,
    smbiosFiles,
    overlay,
    get ports() {
      return reservation
    },
    setPorts: (other) => {
      reservation = other
    },
    log: settings.log,
    get process() {
      return process
    },
    setProcess: (started) => {
      process = started
    },
  }
  cleanup.defer(() => {
    machine.serial.close()
    machine.agent.close()
  })
  return machine
}

/** Keys are made where nobody says how to log in and the image takes them at boot. */
function takesKeys(spec: MachineSpec): boolean {
  return spec.image?.traits.credentials === 'smbios' && spec.ssh !== undefined && spec.ssh.login === undefined
}

/** Writes the keys for a person's `ssh`, and the files that QEMU hands to the guest. Gives the latter's paths. */
async function writeCredentials(
  workspace: Workspace,
  spec: MachineSpec,
  keys: MachineKeys | undefined,
): Promise<string[]> {
  const traits = spec.image?.traits
  if (traits?.credentials !== 'smbios') return []
  const write = (name: string, content: string) => writeFile(workspace.path(name), content, { mode: 0o600 })
  const texts = buildSmbiosStrings({
    'system.hostname': Buffer.from(spec.name),
    ...(keys === undefined ? {} : keyCredentials(keys, traits.hostKeyFormat)),
  })
  const names = texts.map((_, index) => `smbios-${index}`)
  await Promise.all([
    ...(keys === undefined
      ? []
      : [
          write('id_ed25519', keys.client.privateKey),
          // For every host: which port it will be may change until QEMU has it.
          ...(traits.hostKeyFormat === undefined ? [] : [write('known_hosts', `* ${keys.host.publicKey}\n`)]),
        ]),
    ...texts.map((text, index) => write(names[index] as string, text)),
  ])
  return names.map((name) => workspace.path(name))
}

function keyCredentials(keys: MachineKeys, hostKeyFormat: GuestTraits['hostKeyFormat']) {
  const login = { 'ssh.authorized_keys.root': Buffer.from(keys.client.publicKey) }
  if (hostKeyFormat === undefined) return login
  return hostKeyFormat === 'dropbear'
    ? { ...login, 'withvm.dropbear_host_key': toDropbearHostKey(keys.host) }
    : { ...login, 'withvm.ssh_host_ed25519_key': Buffer.from(keys.host.privateKey) }
}

async function makeOverlay(workspace: Workspace, spec: MachineSpec): Promise<string | undefined> {
  const base = spec.image?.disk
  if (base === undefined) return undefined
  const path = workspace.path('disk.qcow2')
  await createOverlay({ base, path })
  return path
}
