import { readFile } from 'node:fs/promises'
import { GuestPort } from '../../channel/port/guest-port.js'
import { ConsoleLogFile } from '../../channel/serial/console-log-file.js'
import { SerialConsole } from '../../channel/serial/serial-console.js'
import { listenUnix, type UnixListener } from '../../channel/unix-listener.js'
import type { CleanupStack } from '../../common/cleanup-stack.js'
import { settleAll } from '../../common/settle-all.js'
import { type ProbedIdentity, readProbedIdentity } from '../../provisioning/probed-identity.js'
import { guardExit } from '../workspace/exit-guard.js'
import { runFolderIdOf } from '../workspace/guest-name.js'
import { Keeper } from '../workspace/keeper.js'
import { openWorkspace, type Workspace } from '../workspace/workspace.js'
import { defaultWaitMs } from './default-wait.js'
import type { GuestPlan, MachineSnapshot, StartOrigin } from './guest-plan.js'
import { HostPorts } from './host-ports.js'
import { Machine, type MachineParts, type MachineSockets } from './machine.js'
import { createFiles, linkSnapshot, watchedDisks } from './machine-files.js'
import { createIdentity } from './machine-identity.js'
import { createTpm, serveForwards, serveNetboot } from './services.js'

/**
 * Acquires everything that a machine needs except QEMU: folder, overlay, ports, sockets and keys.
 * Releases are registered with `cleanup`, so they also run after a failure half-way.
 *
 * @throws {InfrastructureError} WORKSPACE_FAILED, NO_SPACE, PORT_UNAVAILABLE, TOOL_NOT_FOUND.
 */
export async function prepareMachine(
  plan: GuestPlan,
  origin: StartOrigin,
  { lease, onProcess }: Pick<MachineParts, 'lease' | 'onProcess'>,
  cleanup: CleanupStack,
): Promise<Machine> {
  const { spec, host } = plan
  let machine: Machine | undefined
  const folder = await openRunFolder(plan, cleanup, () => machine?.process?.kill('SIGKILL'))
  const { workspace, keeper, logFile } = folder
  const acquire = async <T>(acquiring: Promise<T>, release: (acquired: T) => unknown): Promise<T> => {
    const acquired = await acquiring
    cleanup.defer(() => release(acquired))
    return acquired
  }
  const listen = (name: string) => {
    const listening = listenUnix(workspace.socket(name), { boundAt: workspace.sockets.entry(name) })
    return acquire(listening, (listener) => listener.close())
  }
  const identity = createIdentity(spec, origin)
  const { files, snapshot, sockets, ports, printedBefore, probed, portLogs, netboot, forwards, tpm } =
    await settleAll({
      files: createFiles(workspace, plan, origin, identity),
      snapshot: linkSnapshot(workspace, origin.snapshot),
      sockets: listenForQemu(plan, origin, listen),
      ports: acquire(HostPorts.reserve(spec.forwards), (reserved) => reserved.release()),
      printedBefore: copySnapshotLog(logFile, origin.snapshot),
      probed: readProbed(origin.snapshot),
      portLogs: Promise.all((origin.snapshot?.portLogs ?? []).map((path) => readFile(path))),
      netboot: acquire(serveNetboot(plan, workspace), (server) => server?.close()),
      forwards: acquire(serveForwards(plan, workspace), (servers) => servers.close()),
      tpm: acquire(
        createTpm(plan, workspace, { snapshot: origin.snapshot, endsWithParent: keeper === undefined }),
        (emulator) => (keeper?.hasGuest ? emulator?.leave() : emulator?.stop()),
      ),
    })
  if (host.user !== undefined) await workspace.handOver(host.user)
  const waits = { defaultTimeout: defaultWaitMs(host), waitLimit: () => created.owner.waitLimit() }
  const created = new Machine({
    plan,
    origin: { ...origin, snapshot },
    lease,
    onProcess,
    workspace,
    keeper,
    identity,
    files,
    diskUse: watchedDisks(spec, files),
    sockets,
    ports,
    services: { netboot, forwards, tpm },
    probed,
    serial: new SerialConsole({ logPath: workspace.path('serial.log'), logFile, printedBefore, ...waits }),
    guestPorts: spec.ports.map(({ name }, index) => {
      const { defaultTimeout: defaultWaitMs, waitLimit } = waits
      return new GuestPort(name, { defaultWaitMs, waitLimit, receivedBefore: portLogs[index] })
    }),
  })
  machine = created
  cleanup.defer(() => created.closeChannels())
  return created
}

interface RunFolder {
  readonly workspace: Workspace
  readonly keeper: Keeper | undefined
  readonly logFile: ConsoleLogFile
}

/**
 * Opens the run's folder, and makes sure that it and QEMU do not outlive this process unless the
 * guest is kept.
 */
async function openRunFolder(
  { name, run: { tmpdir, keepMs }, host: { user } }: GuestPlan,
  cleanup: CleanupStack,
  killQemu: () => void,
): Promise<RunFolder> {
  let keeper: Keeper | undefined
  const workspace = await openWorkspace(tmpdir, runFolderIdOf(name))
  const liftGuard = guardExit(() => {
    if (keeper?.hasGuest) return
    killQemu()
    workspace.removeSync()
  })
  cleanup.defer(liftGuard) // released last, so a signal during the removal still removes the folder
  cleanup.defer(() => (keeper?.hasGuest ? workspace.leave() : workspace.dispose()))
  const logFile = ConsoleLogFile.create(workspace.path('serial.log'))
  cleanup.defer(() => logFile.close())
  if (keepMs !== undefined) {
    keeper = await Keeper.start(workspace, { keepMs, log: logFile, user })
    cleanup.defer(() => keeper?.end())
  }
  return { workspace, keeper, logFile }
}

/** Listens for all connections of QEMU. */
function listenForQemu(
  { spec }: GuestPlan,
  { memoryFiles }: StartOrigin,
  listen: (name: string) => Promise<UnixListener>,
): Promise<MachineSockets> {
  return settleAll({
    qmp: listen('qmp.sock'),
    serial: listen('serial.sock'),
    agent: listen('agent.sock'),
    identityAgent: listen('identity.sock'),
    ports: Promise.all(spec.ports.map((_, index) => listen(`port${index}.sock`))),
    state: memoryFiles === undefined ? undefined : listen('state.sock'),
  })
}

/** Reads where a clone of an image without an identity agent has its identity. */
async function readProbed(snapshot: MachineSnapshot | undefined): Promise<ProbedIdentity | undefined> {
  if (snapshot?.identity === undefined) return undefined
  return readProbedIdentity(JSON.parse(await readFile(snapshot.identity, 'utf8')))
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
