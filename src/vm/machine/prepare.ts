import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, readFile } from 'node:fs/promises'
import type { Lease } from '../../budget/lease.js'
import { GuestAgent } from '../../channel/agent/guest-agent.js'
import { IdentityAgent } from '../../channel/identity-agent/identity-agent.js'
import { GuestPort } from '../../channel/port/guest-port.js'
import { ConsoleLogFile } from '../../channel/serial/console-log-file.js'
import { SerialConsole } from '../../channel/serial/serial-console.js'
import { generateSshKeyPair } from '../../channel/ssh/keys.js'
import { listenUnix } from '../../channel/unix-listener.js'
import type { CleanupStack } from '../../common/cleanup-stack.js'
import { settleAll } from '../../common/settle-all.js'
import { currentWaitLimit } from '../../common/wait-limit.js'
import { createOverlay } from '../../disk/overlay.js'
import { captureLimit } from '../../net/capture-files.js'
import { GuestForwards } from '../../net/guest-forwards.js'
import { buildSeedDisk } from '../../provisioning/cloud-init-seed.js'
import { buildSmbiosStrings } from '../../provisioning/credentials.js'
import { addCredentials } from '../../provisioning/initrd-credentials.js'
import { diskFileNode } from '../../qemu/argv/disks.js'
import { buildWatchdogTable, WATCHDOG_TABLE } from '../../qemu/argv/watchdog.js'
import { ForwardCommand } from '../../qemu/forward-command.js'
import type { QemuProcess } from '../../qemu/process.js'
import { TpmEmulator } from '../../qemu/tpm-emulator.js'
import type { GuestTraits } from '../../spec/base-image.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { NotCarriedOver } from '../../spec/not-carried-over.js'
import type { Translation } from '../../spec/translation.js'
import { guardExit } from '../workspace/exit-guard.js'
import { Keeper } from '../workspace/keeper.js'
import { openWorkspace, type Workspace } from '../workspace/workspace.js'
import { defaultWaitMs } from './default-wait.js'
import { DiskUse, useOf } from './disk-use.js'
import { makeDisks, writeSecret } from './disks.js'
import { encodeHostKey } from './host-key.js'
import type {
  Machine,
  MachineHost,
  MachineIdentity,
  MachineKeys,
  MachineSnapshot,
  ScreenSecrets,
  StartedFrom,
} from './machine.js'
import { reservePorts } from './port-reservation.js'
import { serveNetboot } from './serve-netboot.js'
import { Transcript } from './transcript.js'
import { makeVariables } from './uefi-variables.js'

/**
 * Acquires everything that a machine needs except QEMU: folder, overlay, ports, sockets and keys.
 * Releases are registered with `cleanup`, so they also run after a failure half-way.
 *
 * @throws {InfrastructureError} WORKSPACE_FAILED, NO_SPACE, PORT_UNAVAILABLE, TOOL_NOT_FOUND.
 */
export async function prepareMachine(
  spec: MachineSpec,
  host: MachineHost,
  settings: {
    readonly tmpdir: string | undefined
    readonly log: (line: string) => void
    readonly startedFrom: StartedFrom
    readonly translated?: readonly Translation[]
    readonly lease: Lease
    readonly notCarriedOver?: readonly NotCarriedOver[]
    readonly memoryFile?: string | undefined
    /** Called with the process id of each QEMU as soon as it runs. */
    readonly onProcess?: ((pid: number) => void) | undefined
    /** Snapshot that the machine is restored from; undefined for a cold boot. */
    readonly snapshot?: MachineSnapshot | undefined
    /**
     * Time for which the guest may be left running, milliseconds; undefined: it ends with this
     * process.
     */
    readonly keepMs: number | undefined
    readonly signal?: AbortSignal | undefined
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
  cleanup.defer(liftGuard) // released last, so a signal during the removal still removes the folder
  cleanup.defer(() => (keeper?.hasGuest ? workspace.leave() : workspace.dispose()))
  const logFile = ConsoleLogFile.create(workspace.path('serial.log'))
  cleanup.defer(() => logFile.close())
  const { keepMs } = settings
  if (keepMs !== undefined) {
    keeper = await Keeper.start(workspace, keepMs, logFile)
    cleanup.defer(() => keeper?.end())
  }
  const acquire = async <T>(acquiring: Promise<T>, release: (acquired: T) => unknown): Promise<T> => {
    const acquired = await acquiring
    cleanup.defer(() => release(acquired))
    return acquired
  }
  const listen = (name: string) => {
    const listening = listenUnix(workspace.socket(name), { boundAt: workspace.sockets.entry(name) })
    return acquire(listening, (listener) => listener.close())
  }
  const identity = makeIdentity(spec)
  const keys = acceptsKeys(spec) ? { client: generateSshKeyPair(), host: generateSshKeyPair() } : undefined
  const waitLimit = () => machine.waitLimit()
  const isTemplate = settings.memoryFile !== undefined
  const [
    qmp,
    serial,
    agent,
    identityAgent,
    credentials,
    overlay,
    seedDisk,
    watchdogTable,
    diskSecretFile,
    screenSecrets,
    disks,
    firmware,
    ports,
    serialLog,
    stateListener,
    tpm,
    guestPorts,
    netboot,
    forwards,
  ] = await settleAll([
    listen('qmp.sock'),
    listen('serial.sock'),
    listen('agent.sock'),
    listen('identity.sock'),
    writeCredentials(workspace, { spec, identity, keys, isTemplate }),
    makeOverlay(workspace, spec, settings.snapshot),
    writeSeedDisk(workspace, { spec, identity, keys }),
    writeWatchdogTable(workspace, spec),
    writeDiskSecret(workspace, spec),
    writeScreenSecrets(workspace, spec),
    makeDisks(workspace, spec),
    makeVariables(workspace, spec, host),
    reservePorts(spec.forwards),
    copySnapshotLog(logFile, settings.snapshot),
    isTemplate ? listen('state.sock') : undefined,
    planTpm(workspace, spec, host, keeper === undefined),
    Promise.all(
      spec.ports.map(async ({ name }, index) => ({
        listener: await listen(`port${index}.sock`),
        port: new GuestPort(name, { defaultWaitMs: defaultWaitMs(host), waitLimit }),
      })),
    ),
    acquire(serveNetboot(spec, workspace, settings.signal), (server) => server?.close()),
    acquire(serveForwards(spec, workspace, host, settings.log), (answers) => answers.close()),
  ])
  let reservation = ports
  cleanup.defer(() => reservation.release())
  cleanup.defer(() => (keeper?.hasGuest ? tpm?.leave() : tpm?.stop()))
  if (host.user !== undefined) await workspace.handOver(host.user)
  const machine: Machine = {
    id: randomBytes(4).toString('hex'),
    spec,
    waitLimit: currentWaitLimit(),
    startedFrom: settings.startedFrom,
    isTemplate,
    stateListener,
    host,
    lease: settings.lease,
    workspace,
    keeper,
    listeners: { qmp, serial, agent, identityAgent },
    guestPorts,
    serial: new SerialConsole({
      logPath: workspace.path('serial.log'),
      logFile,
      defaultTimeout: defaultWaitMs(host),
      waitLimit,
      printedBefore: serialLog,
    }),
    transcripts: { qmp: new Transcript(), commands: new Transcript() },
    agent: new GuestAgent(),
    identityAgent: new IdentityAgent(),
    identity,
    keys,
    hostKeyOfConsole: undefined,
    ...credentials,
    overlay,
    seedDisk,
    watchdogTable,
    netboot,
    forwards,
    diskSecretFile,
    screenSecrets,
    disks,
    diskUse: watchedDisks(spec, { overlay, disks }),
    firmware,
    tpm,
    get ports() {
      return reservation
    },
    setPorts: (other) => {
      reservation = other
    },
    log: settings.log,
    translated: settings.translated ?? [],
    notCarriedOver: settings.notCarriedOver ?? [],
    get process() {
      return process
    },
    setProcess: (started) => {
      process = started
      settings.onProcess?.(started.pid)
    },
  }
  cleanup.defer(() => {
    machine.serial.close()
    machine.agent.close()
    machine.identityAgent.close()
    for (const { port } of guestPorts) port.close()
  })
  return machine
}

/**
 * Returns the files that grow as the guest writes. Captures have their own part of the limit and
 * enforce it themselves.
 */
function watchedDisks(
  { disks: specs, limits, netboot }: MachineSpec,
  { overlay, disks }: Pick<Machine, 'overlay' | 'disks'>,
): DiskUse {
  const capturedBytes = netboot === undefined ? 0 : captureLimit(limits.diskBytes)
  const diskUse = new DiskUse(limits.diskBytes - capturedBytes)
  if (overlay !== undefined) diskUse.add({ path: overlay, node: diskFileNode(0) })
  for (const [index, file] of disks.entries()) {
    const disk = specs[index]
    if (file === undefined || disk === undefined || disk.isReadonly) continue
    const base = disk.isWrittenDirectly ? useOf(file.path) : undefined
    diskUse.add({ path: file.path, node: diskFileNode(index + 1), base })
  }
  return diskUse
}

/** Returns a random MAC address in QEMU's range, as used for `virtio-net-pci,mac=`. */
function makeMac(): string {
  const suffix = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
  return `52:54:00:${suffix}`
}

function makeIdentity(spec: MachineSpec): MachineIdentity {
  return {
    mac: spec.network.mac ?? makeMac(),
    furtherMacs: spec.furtherNetworks.map(({ mac }) => mac ?? makeMac()),
    machineId: randomBytes(16).toString('hex'),
  }
}

/**
 * Returns whether keys are created: the test specifies no login, and the image accepts keys at boot
 * or through its console.
 */
function acceptsKeys(spec: MachineSpec): boolean {
  const { ssh, cloudInit, login } = spec
  const canReceive = credentialTransport(spec) !== undefined || cloudInit !== undefined || login !== undefined
  return canReceive && ssh !== undefined && ssh.login === undefined
}

/**
 * Returns how the guest receives its name and keys at boot. The initrd is used only if it is the
 * image's own.
 */
function credentialTransport({ image, directBoot }: MachineSpec): 'smbios' | 'initrd' | undefined {
  const transport = image?.traits.credentials
  if (transport === 'initrd') return directBoot?.initrd === image?.directBoot?.initrd ? transport : undefined
  return transport === 'smbios' ? transport : undefined
}

/**
 * Writes the keys for a user's `ssh` command, and the credential files that QEMU passes to the
 * guest. Returns the latter.
 */
async function writeCredentials(
  workspace: Workspace,
  { spec, identity, keys, isTemplate }: Pick<Machine, 'spec' | 'identity' | 'keys' | 'isTemplate'>,
): Promise<Pick<Machine, 'smbiosFiles' | 'initrd'>> {
  const hostKeyFormat = spec.image?.traits.hostKeyFormat
  const transport = credentialTransport(spec)
  if (keys !== undefined) await workspace.write('id_ed25519', keys.client.privateKey)
  if (transport === undefined) return { smbiosFiles: [], initrd: undefined }
  const credentials = {
    'system.hostname': Buffer.from(spec.name),
    'system.machine_id': Buffer.from(identity.machineId),
    ...(isTemplate ? { 'withvm.template': Buffer.from('1') } : {}),
    ...(keys === undefined ? {} : keyCredentials(keys, hostKeyFormat)),
  }
  // For every host, because the port may change until QEMU has bound it.
  if (keys !== undefined && hostKeyFormat !== undefined)
    await workspace.write('known_hosts', `* ${keys.host.publicKey}\n`)
  if (transport === 'initrd') {
    const initrd = await readFile(spec.directBoot?.initrd as string)
    await workspace.write('initrd', addCredentials(initrd, credentials))
    return { smbiosFiles: [], initrd: workspace.path('initrd') }
  }
  const texts = buildSmbiosStrings(credentials)
  const names = texts.map((_, index) => `smbios-${index}`)
  await Promise.all(texts.map((text, index) => workspace.write(names[index] as string, text)))
  return { smbiosFiles: names.map((name) => workspace.path(name)), initrd: undefined }
}

function keyCredentials(keys: MachineKeys, hostKeyFormat: GuestTraits['hostKeyFormat']) {
  const login = { 'ssh.authorized_keys.root': Buffer.from(keys.client.publicKey) }
  if (hostKeyFormat === undefined) return login
  const name = hostKeyFormat === 'dropbear' ? 'withvm.dropbear_host_key' : 'withvm.ssh_host_ed25519_key'
  return { ...login, [name]: encodeHostKey(keys.host, hostKeyFormat) }
}

async function makeOverlay(
  workspace: Workspace,
  spec: MachineSpec,
  snapshot: MachineSnapshot | undefined,
): Promise<string | undefined> {
  const base = spec.image?.disk
  if (base === undefined) return undefined
  const path = workspace.path('disk.qcow2')
  if (snapshot?.overlay === undefined) await createOverlay({ base, path })
  else await copyFile(snapshot.overlay, path)
  return path
}

/** Writes the ACPI table that describes a watchdog to kernels without a driver for it. */
async function writeWatchdogTable(
  workspace: Workspace,
  { devices }: MachineSpec,
): Promise<string | undefined> {
  if (devices.watchdog?.model !== 'ib700') return undefined
  await workspace.write(WATCHDOG_TABLE, buildWatchdogTable())
  return WATCHDOG_TABLE
}

/**
 * Writes the seed disk for cloud-init. It contains the guest's host key, so no other user can read
 * it.
 */
async function writeSeedDisk(
  workspace: Workspace,
  { spec, identity, keys }: Pick<Machine, 'spec' | 'identity' | 'keys'>,
): Promise<string | undefined> {
  if (spec.cloudInit === undefined) return undefined
  const disk = buildSeedDisk(spec.cloudInit, {
    hostName: spec.name,
    instanceId: identity.machineId,
    keys: keys && { client: keys.client.publicKey, host: keys.host },
  })
  await workspace.write('seed.img', disk)
  return workspace.path('seed.img')
}

function serveForwards(
  { network, furtherNetworks }: MachineSpec,
  workspace: Workspace,
  { user }: MachineHost,
  log: (line: string) => void,
): Promise<GuestForwards> {
  const forwards = [network, ...furtherNetworks].flatMap(({ guestForwards }) => guestForwards)
  return GuestForwards.listen(forwards, {
    sockets: workspace.sockets,
    programDir: workspace.dir,
    startCommand: (line, connection) =>
      ForwardCommand.start(line, connection, { folder: workspace.folder, user }),
    log,
  })
}

/** Writes the secret of an encrypted image to a file that only QEMU can read. */
async function writeDiskSecret(workspace: Workspace, spec: MachineSpec): Promise<string | undefined> {
  return writeSecret(workspace, spec.image?.disk, 'disk-secret')
}

/** Writes the passwords of VNC and SPICE to files that only QEMU can read. */
async function writeScreenSecrets(workspace: Workspace, { display }: MachineSpec): Promise<ScreenSecrets> {
  const write = async (name: string, secret: string | undefined) => {
    if (secret === undefined) return undefined
    await workspace.write(name, secret)
    return workspace.path(name)
  }
  return {
    vncSecretFile: await write('vnc-secret', display.vnc?.password),
    spiceSecretFile: await write('spice-secret', display.spice?.password),
  }
}

async function planTpm(
  workspace: Workspace,
  { tpm }: MachineSpec,
  { swtpm: program, user }: MachineHost,
  endsWithParent: boolean,
): Promise<TpmEmulator | undefined> {
  if (tpm === undefined || program === undefined) return undefined
  const { version } = tpm
  const stateDir = workspace.path('tpm')
  await mkdir(stateDir, { mode: 0o700 })
  const { sockets } = workspace
  return new TpmEmulator({ program, version, stateDir, sockets, endsWithParent, user })
}

/** Copies the console log of the snapshot, so the guest's log is complete from its first byte. */
async function copySnapshotLog(
  logFile: ConsoleLogFile,
  snapshot: MachineSnapshot | undefined,
): Promise<Buffer | undefined> {
  if (snapshot === undefined) return undefined
  const printed = await readFile(snapshot.serialLog)
  logFile.write(printed)
  return printed
}
