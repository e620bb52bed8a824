import { type CommandOptions, type CommandResult, nameCommand } from '../../channel/command-result.js'
import type { GuestPort } from '../../channel/port/guest-port.js'
import { Keyboard, type KeyboardKey, type KeyboardTypeOptions } from '../../channel/qmp/keyboard.js'
import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { DownloadOptions, TransferOptions } from '../../channel/ssh/transfer-limits.js'
import { Calls } from '../../common/calls/calls.js'
import { traceCalls } from '../../common/calls/trace-calls.js'
import { combineSignals } from '../../common/combine-signals.js'
import { abortsWithin, raceSignal } from '../../common/deadline.js'
import { quoteWord } from '../../common/process/shell-quote.js'
import { resolveDuration } from '../../common/resolve-duration.js'
import type { MemorySize } from '../../common/units.js'
import type { WaitLimit } from '../../common/wait-limit.js'
import { VMError, vmError } from '../../errors.js'
import type { Netboot } from '../../net/netboot-server.js'
import type { QemuCommand } from '../../qemu/command.js'
import type { ImportReport } from '../../spec/import-report.js'
import { addEvidence } from '../evidence/diagnostics.js'
import { formatManualCommand } from '../evidence/manual-command.js'
import { readPngSize } from '../evidence/picture.js'
import { type SaveOptions, saveLogs } from '../evidence/saved-logs.js'
import { readScreenshot } from '../evidence/screenshot.js'
import { defaultWaitMs } from '../machine/default-wait.js'
import type { StartedFrom } from '../machine/guest-plan.js'
import type { Machine } from '../machine/machine.js'
import { CommandGroup } from '../machine/transcript.js'
import type { ForkOptions } from '../power/fork-options.js'
import { handOver, type KeptGuest } from '../power/keep.js'
import {
  type ForkParent,
  Power,
  type PowerControls,
  type StartOptions,
  type StopOptions,
} from '../power/power.js'
import type { SshAccess } from '../power/ssh-access.js'
import { type MemoryUse, readMemoryUse } from '../session/memory-use.js'
import type { PowerOffReason, Session } from '../session/session.js'
import type { StageTime } from '../watch/guest-watch.js'
import type { CheckLike } from './checks/combined.js'
import { readLogMark } from './checks/log-mark.js'
import type { LogMark } from './checks/log-messages.js'
import { recordCommand } from './command-groups.js'
import { LIST_PROCESSES, limitCommand } from './command-limit.js'
import { Mouse } from './display/mouse.js'
import { findSpice, findVnc, type ScreenServer } from './display/servers.js'
import { disposable, type Forks } from './forks.js'
import type { GuestHandle } from './guest-handle.js'
import { type Invariant, Invariants, isInCheck, runOwnCommands } from './invariants.js'
import { Media } from './plug/media.js'
import { Plug } from './plug/plug.js'
import type { PluggedDevice } from './plug/plugged-device.js'
import {
  type BalloonOptions,
  type LinkOptions,
  setBalloon,
  setLink,
  type ThrottleLimits,
  throttle,
} from './plug/running-changes.js'
import { createSsh, type Ssh, type UseClient } from './ssh-function.js'
import { WaitFor } from './wait-for.js'

/** Maximum delay between a lost connection and the detection of QEMU's end, in milliseconds. */
const LOSS_DETECTION_MS = 250
/**
 * Timeouts of diagnostic commands, milliseconds: a failed guest may not answer over SSH or through
 * its agent.
 */
const DIAGNOSTIC_TIMEOUT_MS = { ssh: 3000, agent: 2000 } as const

/** A guest, started by `withVM()` or `launchVM()`. `withVM()` and `await using` dispose of it. */
export class VM implements GuestHandle {
  static {
    traceCalls(VM, 'vm', [
      ...(['qmp', 'netboot', 'hostPort', 'port', 'url', 'exec', 'upload', 'download', 'always'] as const),
      ...(['reboot', 'shutdown', 'powerCut', 'start', 'wait', 'waitUntilReady', 'saveLogs', 'keep'] as const),
      ...(['checkpoint', 'restore', 'screenshot', 'press', 'type', 'vnc', 'spice', 'setLink'] as const),
      ...(['balloon', 'throttle', 'memory', 'fork'] as const),
    ])
  }

  /**
   * Runs a command over SSH. As a template tag, it quotes the arguments; as a function, it takes
   * options.
   *
   * @throws {CommandError} COMMAND_FAILED on a non-zero exit code (unless `reject: false`),
   *   COMMAND_TIMEOUT.
   * @throws {GuestError} SSH_REFUSED, SSH_AUTH_FAILED, SSH_CLOSED, GUEST_PANICKED, GUEST_STOPPED.
   * @throws {InfrastructureError} QEMU_DIED.
   * @example const { stdout } = await vm.ssh`cat ${path}`
   */
  readonly ssh: Ssh
  /** Serial console: output since the first power-on, waits and input. */
  readonly serial: SerialConsole
  /**
   * Keyboard of the guest's display, for firmware, menus and consoles. For the serial console, use
   * `vm.serial.press()`.
   */
  readonly keyboard: Keyboard
  /** Pointer with absolute positions on the guest's display. Requires the option `tablet`. */
  readonly mouse: Mouse
  /** Hot-plugs devices: disks, network cards, CPUs, memory. */
  readonly plug: Plug
  /** Changes CDs and floppy disks of the running guest. */
  readonly media: Media
  /**
   * Waits for a condition of the guest: an active unit, a file, an open port, a process, a reboot,
   * …
   */
  readonly waitFor: WaitFor<VM>
  /** @internal Invariants of `vm.always()`. */
  readonly invariants = new Invariants(this)
  /** @internal Calls of the test on this guest. */
  readonly calls = new Calls(this)
  readonly #machine: Machine
  readonly #power: Power
  readonly #controls: PowerControls
  readonly #children = new Set<VM>()
  /** Screenshots recorded by checks and matchers, by file name. */
  readonly #pictures = new Map<string, Buffer>()
  #screenshots = 0

  /** @internal */
  constructor(machine: Machine, controls: PowerControls, session: Session) {
    this.#machine = machine
    this.#controls = controls
    this.#power = new Power(this, machine, controls, session)
    this.serial = machine.serial
    this.serial.owner = this
    const { commandMs } = machine.spec.timeouts
    this.ssh = createSsh(
      (use, user, signal, command) =>
        this.#withInvariants(command, signal, (limit) => this.#useSsh(use, user, limit)),
      { timeoutMs: commandMs, calls: this.calls },
    )
    const running = () => this.#power.requireRunning()
    this.keyboard = new Keyboard(() => running().qmp)
    this.mouse = new Mouse(
      () => running().qmp,
      async () => readPngSize(await this.screenshot()),
    )
    this.plug = new Plug(machine, running)
    this.media = new Media(machine, running)
    this.waitFor = new WaitFor(this, this.#power)
    const { calls, serial, keyboard, mouse, plug, media, waitFor } = this
    for (const part of [serial, keyboard, mouse, plug, media, waitFor, ...machine.guestPorts])
      part.calls = calls
  }

  /** Name of the guest: the option `name`. */
  get name(): string {
    return this.#machine.spec.name
  }

  /**
   * Unique name of the guest on this host, such as `web-9dde26`: shown in messages and by
   * `withvm ps`, accepted by `withvm ssh`, and the name of the guest's folder of artifacts.
   */
  get id(): string {
    return this.#machine.name
  }

  /** QEMU monitor: executes commands (common ones are typed) and emits events. */
  get qmp(): QmpClient {
    const { qmp } = this.#power.requireRunning()
    qmp.calls = this.calls
    return qmp
  }

  /** If true, the guest can boot from the network, and {@link netboot} is available. */
  get hasNetboot(): boolean {
    return this.#machine.services.netboot !== undefined
  }

  /**
   * DHCP, TFTP and HTTP requests that the guest made while it booted from the network.
   * @throws {UsageError} INVALID_OPTIONS when the guest has neither `netboot` nor `network.tftp`.
   */
  get netboot(): Netboot {
    const { netboot } = this.#machine.services
    if (netboot !== undefined) return netboot
    throw vmError('INVALID_OPTIONS', {
      summary: `The guest '${this.id}' does not use network boot, so \`vm.netboot\` is not available.`,
      hint: 'Set the option `netboot` or `network.tftp`.',
    })
  }

  /** If true, the guest is powered on and not disposed of. */
  get isRunning(): boolean {
    return this.#power.isRunning
  }

  /** Process id of QEMU. */
  get pid(): number {
    return this.#power.session.process.pid
  }

  /**
   * Private folder of this run: overlay, `serial.log`, keys. Removed when the guest is disposed of.
   */
  get runFolder(): string {
    return this.#machine.workspace.dir
  }

  /** Path of the base image's disk, which is never written to. Undefined if the guest has none. */
  get baseDisk(): string | undefined {
    return this.#machine.spec.image?.disk?.path
  }

  /** QEMU accelerator of the guest. */
  get accelerator(): 'kvm' | 'tcg' {
    return this.#machine.host.accelerator
  }

  /** Kind of start of this guest: cold boot, template or standby. */
  get startedFrom(): StartedFrom {
    return this.#machine.owner.startedFrom
  }

  /**
   * Slowdown of this host relative to a host with KVM, 1 or more. Default timeouts are multiplied
   * by it.
   */
  get timeFactor(): number {
    return this.#machine.host.timeFactor
  }

  /** @internal SSH connections of this guest. */
  get sshAccess(): SshAccess {
    return this.#power.access
  }

  /** @internal Upper bound of waits for this guest, so that they end before its test does. */
  get waitLimit(): WaitLimit {
    return this.#machine.owner.waitLimit
  }

  /**
   * @internal Channel for commands that withvm itself runs in the guest, such as those of checks.
   */
  get commandChannel(): 'ssh' | 'agent' {
    const { ready, ssh } = this.#machine.spec
    return ssh === undefined || ready === 'agent' ? 'agent' : 'ssh'
  }

  /**
   * Aborts when this power-on ends by a panic, a power-off or the end of QEMU. The reason is the
   * error.
   */
  get lost(): AbortSignal {
    return this.#power.session.watch.failure
  }

  /**
   * Number of boots since the guest was launched: 1, plus one for each reset and each `vm.start()`.
   */
  get bootCount(): number {
    return this.#power.bootCount
  }

  /**
   * @internal The latest {@link bootCount} that was waited for by a launch, start, reboot or
   * `waitFor.reboot()`.
   */
  get lastReadyBoot(): number {
    return this.#power.lastReadyBoot
  }

  /**
   * Boot stages of the latest start, with the time of each in milliseconds since QEMU was started.
   */
  get timeline(): readonly StageTime[] {
    return this.#power.session.watch.timeline
  }

  /** Path and arguments of the QEMU process. */
  get qemuCommand(): QemuCommand {
    return this.#power.session.process.command
  }

  /** Shell command that boots the same guest by hand, with its console on the terminal. */
  get commandLine(): string {
    return formatManualCommand(this.#machine)
  }

  /**
   * GDB command that connects to the guest, such as `target remote /tmp/…/gdb.sock`. Undefined
   * without `debug.gdb`.
   *
   * @example execa('gdb', ['-batch', '-ex', vm.gdb, '-ex', 'info registers'])
   */
  get gdb(): string | undefined {
    const { gdb = false } = this.#machine.spec.debug
    if (gdb === false) return undefined
    return `target remote ${gdb === true ? this.#machine.workspace.socket('gdb.sock') : `127.0.0.1:${gdb}`}`
  }

  /**
   * Parts of `commandLine` that were replaced and settings of `libvirtXML` that were not imported,
   * with reasons.
   */
  get importReport(): ImportReport {
    return this.#machine.owner.importReport
  }

  /**
   * Shell command that logs in to this guest while it runs. Undefined if withvm did not create the
   * SSH key.
   */
  get sshCommandLine(): string | undefined {
    const { ssh } = this.#machine.spec
    if (ssh === undefined || this.#machine.identity.keys === undefined) return undefined
    const file = (name: string) => this.#machine.workspace.path(name)
    const port = this.hostPort(ssh.guestPort)
    const options = [
      `UserKnownHostsFile=${file('known_hosts')}`,
      `HostKeyAlias=${this.name}`,
      'IdentitiesOnly=yes',
    ]
    const words = [
      'ssh',
      '-p',
      String(port),
      '-i',
      file('id_ed25519'),
      ...options.flatMap((option) => ['-o', option]),
    ]
    return [...words, `${ssh.user}@127.0.0.1`].map(quoteWord).join(' ')
  }

  /**
   * Returns the host port that is forwarded to a port of the guest.
   * @throws {UsageError} INVALID_OPTIONS when that port is not forwarded.
   */
  hostPort(guestPort: number, protocol: 'tcp' | 'udp' = 'tcp'): number {
    const { forwards } = this.#machine.spec
    const index = forwards.findIndex(
      (forward) => forward.guest === guestPort && forward.protocol === protocol,
    )
    const port = this.#machine.ports.numbers[index]
    if (port !== undefined) return port
    throw vmError('INVALID_OPTIONS', {
      summary: `The ${protocol} port ${guestPort} of the guest is not forwarded.`,
      expected:
        forwards.length > 0
          ? `one of ${forwards.map((forward) => `${forward.protocol} ${forward.guest}`).join(', ')}`
          : 'a forwarded port; the guest has none',
      got: `${protocol} ${guestPort}`,
      hint: `Add { guest: ${guestPort}${protocol === 'udp' ? ", protocol: 'udp'" : ''} } to \`hostfwd\`.`,
    })
  }

  /**
   * Returns the host side of a character device of the option `ports`.
   * @throws {UsageError} INVALID_OPTIONS when no port has this name.
   * @example await vm.port('control').write('hello\n')
   */
  port(name: string): GuestPort {
    const { guestPorts } = this.#machine
    const found = guestPorts.find((port) => port.name === name)
    if (found !== undefined) return found
    throw vmError('INVALID_OPTIONS', {
      summary: `The guest has no port '${name}'.`,
      expected:
        guestPorts.length > 0
          ? `one of ${guestPorts.map((port) => port.name).join(', ')}`
          : 'a port declared in `ports`; the guest has none',
      got: name,
      hint: `Add { name: '${name}' } to \`ports\`.`,
    })
  }

  /**
   * Returns the URL at which the host reaches a server in the guest.
   * @default path '/', protocol 'http'
   */
  url(guestPort: number, path = '/', protocol: 'http' | 'https' = 'http'): string {
    return `${protocol}://127.0.0.1:${this.hostPort(guestPort)}${path.startsWith('/') ? path : `/${path}`}`
  }

  /**
   * Runs a command through the guest agent, without network and SSH. Returns the same result as
   * `vm.ssh()`.
   *
   * @throws {CommandError} COMMAND_FAILED, COMMAND_TIMEOUT.
   * @throws {GuestError} AGENT_UNAVAILABLE when no guest agent answers.
   */
  exec(
    command: string,
    options: CommandOptions & { readonly encoding: 'buffer' },
  ): Promise<CommandResult<Buffer>>
  exec(command: string, options?: CommandOptions): Promise<CommandResult>
  exec(command: string, options: CommandOptions = {}): Promise<CommandResult<string | Buffer>> {
    const timeout = options.timeout ?? this.#machine.spec.timeouts.commandMs
    return this.#withInvariants(command, options.signal, (limit) =>
      this.#race(limit, (signal) => this.#machine.agent.exec(command, { ...options, timeout, signal })),
    )
  }

  /**
   * Copies a file or a folder to the guest over SFTP.
   * @throws {GuestError} TRANSFER_FAILED
   */
  upload(localPath: string, guestPath: string, options: TransferOptions = {}): Promise<void> {
    const use: UseClient<void> = (client, signal) =>
      client.upload(localPath, guestPath, { ...options, signal })
    return this.#useSsh(use, undefined, options.signal)
  }

  /**
   * Copies a file or a folder from the guest over SFTP.
   * @throws {GuestError} TRANSFER_FAILED
   */
  download(guestPath: string, localPath: string, options: DownloadOptions = {}): Promise<void> {
    const use: UseClient<void> = (client, signal) =>
      client.download(guestPath, localPath, { ...options, signal })
    return this.#useSsh(use, undefined, options.signal)
  }

  /**
   * Adds an invariant. The check runs now, before and after each command of `vm.ssh` and `vm.exec`,
   * and during waits. When it fails, that command or wait fails, and so does every later one until
   * `stop()`.
   *
   * @param check one of `checks`, or a function that returns `false` or throws when the invariant
   *   is broken.
   * @throws {GuestError} INVARIANT_BROKEN when the check already fails now.
   * @example await using nginx = await vm.always('nginx is up', checks.processRuns('nginx'))
   */
  async always(name: string, check: CheckLike<unknown, VM>): Promise<Invariant> {
    this.#power.requireRunning()
    return this.invariants.add(name, check)
  }

  /**
   * Returns the present end of the kernel log and of the journal, for the option `since` of checks
   * and matchers of logs.
   *
   * @throws {CommandError} COMMAND_FAILED when the guest is not a Linux system with /proc, and the
   *   errors of `vm.ssh`.
   * @example
   * const since = await vm.markLogs()
   * await vm.ssh`modprobe demo`
   * await expect(vm).toHaveCleanKernelLog({ since })
   */
  async markLogs({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<LogMark> {
    return runOwnCommands(new CommandGroup('mark in the logs'), () => readLogMark(this, signal))
  }

  /**
   * Reboots the guest and waits until it is ready. Uses SSH or the guest agent; resets a guest that
   * has neither.
   * @throws {GuestError} STATE_TIMEOUT when the guest does not shut down in time, and the errors of
   *   a start.
   */
  reboot(options: StopOptions = {}): Promise<void> {
    return this.#power.reboot(options)
  }

  /**
   * Shuts the guest down through SSH, the guest agent or the power button (ACPI), and waits until
   * it is off.
   * @throws {GuestError} STATE_TIMEOUT when the guest does not shut down in time.
   */
  shutdown(options: StopOptions = {}): Promise<void> {
    return this.#power.shutdown(options)
  }

  /** Cuts the guest's power: data that was not flushed to its disk may be lost. */
  powerCut(): Promise<void> {
    return this.#power.powerCut()
  }

  /**
   * Powers the guest on again with its present disk, and waits until it is ready.
   * @throws {UsageError} VM_RUNNING when the guest is not off, and the errors of a start.
   */
  start(options: StartOptions = {}): Promise<void> {
    return this.#power.start(options)
  }

  /** Waits until this power-on ends, and returns the reason. @default timeout none */
  wait(
    options: StopOptions = {},
  ): Promise<{ readonly reason: PowerOffReason; readonly exitCode: number | undefined }> {
    return this.#power.wait(options)
  }

  /**
   * Waits until the guest is ready as defined by the option `ready`, for example after it reset
   * itself.
   */
  waitUntilReady(signal?: AbortSignal): Promise<void> {
    return this.#power.waitUntilReady(signal)
  }

  /**
   * Saves the artifacts of this guest to the subfolder of `folder` that has its name, and returns
   * that folder. `withVM()` does this when its body fails, if the option `artifacts` is set.
   *
   * - always: `serial.log`, `commands.log` (commands with times), `qmp.log`, `qemu.log`,
   *   `guest.txt`, `command-line.txt`
   * - with a display: `screenshot.png`, and `seen-1.png`, … for screenshots of failed matchers
   * - if the guest still answers: `dmesg.txt`, `journal.txt`
   * - with a network boot: `netboot.txt`
   * - with `memory: true`: `memory.elf`
   */
  saveLogs(folder: string, options: SaveOptions = {}): Promise<string> {
    const canAnswer = this.isRunning && !this.lost.aborted
    return saveLogs(this.#machine, folder, {
      ...options,
      session: this.#power.session,
      pictures: this.#pictures,
      runCommand: canAnswer ? (command) => this.#runDiagnostic(command) : undefined,
    })
  }

  /**
   * Keeps the guest running after this process ends, for inspection, until the duration of
   * `keepOnFailure` expires or `withvm stop` is called. In this process, the guest is then disposed
   * of. `withVM()` and the fixtures do this after a failure.
   *
   * @param why reason shown by `withvm ps`.
   * @throws {UsageError} INVALID_OPTIONS when the guest was started without `keepOnFailure` or
   *   WITHVM_KEEP; VM_NOT_RUNNING.
   */
  async keep(why: string): Promise<KeptGuest> {
    const kept = await handOver(this.#machine, this.#power.requireRunning(), why)
    await this.dispose()
    return kept
  }

  /** Names of the checkpoints that can be restored. */
  get checkpoints(): readonly string[] {
    return this.#power.checkpoints
  }

  /**
   * Saves RAM and disk of the running guest as a named checkpoint, and resumes the guest. An
   * existing checkpoint of this name is replaced. Checkpoints last until the guest is powered off.
   *
   * @throws {InfrastructureError} CHECKPOINT_FAILED when a device cannot be saved or the guest has
   *   no disk; NO_SPACE.
   * @example await vm.checkpoint('installed')
   */
  checkpoint(name: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    return this.#power.checkpoint(name, options.signal)
  }

  /**
   * Restores RAM and disk of a checkpoint, even after a panic. The guest's clock is set to the
   * present time. Commands that were running end; the console log continues.
   *
   * @throws {UsageError} INVALID_OPTIONS when the checkpoint does not exist.
   * @throws {InfrastructureError} CHECKPOINT_FAILED
   * @example await vm.restore('installed')
   */
  restore(name: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    return this.#power.restore(name, options.signal)
  }

  /**
   * Starts children that continue from the present state of this guest: RAM, devices and disks,
   * with all programs running. Each child has its own ports, disk overlays, LANs and run folder.
   * This guest is paused for some milliseconds; its connections stay open.
   *
   * A child is a guest of its own, which may end before or after this guest, and can be forked.
   * `withVM()` and the Vitest fixtures dispose of the children of their guests.
   *
   * @param count number of children. @default 1
   * @returns the children. Disposing of this array disposes of all of them.
   * @throws {UsageError} SAVE_UNSUPPORTED when the guest has a device or disk that cannot be
   *   forked; INVALID_OPTIONS; VM_NOT_RUNNING.
   * @throws {InfrastructureError} FORK_FAILED, HOST_TOO_SMALL, NO_SPACE. This guest continues to
   *   run.
   * @example const [left, right] = await vm.fork(2)
   */
  async fork<const Count extends number = 1>(
    count?: Count,
    options: ForkOptions = {},
  ): Promise<Forks<VM, Count>> {
    const children = await this.#controls.fork({ count: count ?? 1, options })
    return disposable(children as VM[]) as unknown as Forks<VM, Count>
  }

  /** @internal Returns this guest as the parent of a fork. */
  forkParent(): ForkParent {
    return this.#power.forkParent()
  }

  /** @internal Children that were not disposed of. */
  get children(): readonly VM[] {
    return [...this.#children]
  }

  /** @internal Called with each child before the test gets it. */
  onFork: ((child: VM) => void) | undefined

  /** @internal Takes a child, which `withVM()` and the fixtures dispose of with this guest. */
  adopt(child: VM): void {
    this.#children.add(child)
    this.onFork?.(child)
  }

  /** @internal Forgets a child that was disposed of. */
  forget(child: VM): void {
    this.#children.delete(child)
  }

  /** If true, the guest was started such that {@link keep} can leave it running. */
  get canBeKept(): boolean {
    return this.#machine.keeper !== undefined
  }

  /**
   * @internal Calls {@link keep} if the guest can be kept and still runs. Returns undefined if it
   * was not kept.
   */
  async tryKeep(why: string): Promise<KeptGuest | undefined> {
    if (!this.canBeKept || !this.isRunning) return undefined
    return this.keep(why).catch((error: Error) => {
      this.#machine.owner.log(`the guest '${this.id}' could not be kept: ${error.message}`)
      return undefined
    })
  }

  /**
   * Takes a screenshot of the guest's display, as PNG.
   *
   * @throws {UsageError} DISPLAY_UNAVAILABLE when the guest has no display: see the option `vga`.
   * @example await writeFile('screen.png', await vm.screenshot())
   */
  async screenshot(): Promise<Buffer> {
    const { qmp } = this.#power.requireRunning()
    const { folder } = this.#machine.workspace
    const file = { folder, name: `screen-${++this.#screenshots}.png` }
    return readScreenshot(qmp, file, this.timeFactor)
  }

  /**
   * @internal Records a screenshot (PNG) that is saved with the guest's logs. Returns its file
   * name.
   */
  recordPicture(png: Buffer): string {
    const name = `seen-${this.#pictures.size + 1}.png`
    this.#pictures.set(name, png)
    return name
  }

  /**
   * Presses keys of the guest's keyboard, one after the other. Short for `vm.keyboard.press()`.
   *
   * @throws {UsageError} INVALID_OPTIONS when a key does not exist.
   * @example await vm.press('ctrl-alt-f2')
   */
  press(...keys: readonly KeyboardKey[]): Promise<void> {
    return this.keyboard.press(...keys)
  }

  /**
   * Types text on the guest's keyboard. Short for `vm.keyboard.type()`.
   *
   * @throws {UsageError} INVALID_OPTIONS when the layout lacks a character of the text; nothing is
   *   typed then.
   * @example await vm.type('root\n', { layout: 'de' })
   */
  type(text: string, options?: KeyboardTypeOptions): Promise<void> {
    return this.keyboard.type(text, options)
  }

  /**
   * Returns the address of the VNC server (option `vnc`).
   * @throws {UsageError} DISPLAY_UNAVAILABLE when there is none.
   */
  vnc(): Promise<ScreenServer> {
    return findVnc(this.qmp, this.#machine.spec)
  }

  /**
   * Returns the address of the SPICE server (option `spice`).
   * @throws {UsageError} DISPLAY_UNAVAILABLE when there is none.
   */
  async spice(): Promise<ScreenServer> {
    this.#power.requireRunning()
    return findSpice(this.#machine.spec, this.#machine.workspace.socket('spice.sock'))
  }

  /**
   * Sets the link of a network card up or down (QMP: `set_link`). SSH uses the first card;
   * `vm.exec()` uses none.
   *
   * @throws {UsageError} INVALID_OPTIONS, DEVICE_REFUSED when the card does not exist.
   * @example await vm.setLink(false)
   */
  setLink(isUp: boolean, options: LinkOptions = {}): Promise<void> {
    return setLink(this.qmp, this.#machine, isUp, options)
  }

  /**
   * Changes the guest's memory with the balloon device, and waits until it has this size (QMP:
   * `balloon`). Requires the option `balloon`, and the driver `virtio_balloon` in the guest.
   *
   * @param size target size of the guest's memory: MiB, or with a unit.
   * @returns the actual size, in bytes.
   * @throws {GuestError} UNPLUG_FAILED when the guest does not reach this size in time.
   * @throws {UsageError} INVALID_OPTIONS, DEVICE_REFUSED when the guest has no balloon.
   */
  async balloon(size: MemorySize, { timeout }: BalloonOptions = {}): Promise<number> {
    const longest = resolveDuration('timeout', timeout) ?? defaultWaitMs(this)
    const timeoutMs = Math.min(longest, this.waitLimit())
    return setBalloon(this.qmp, this.#machine, size, { timeoutMs, signal: this.lost })
  }

  /**
   * Limits the I/O of a disk from now on (QMP: `block_set_io_throttle`). `{}` removes the limits.
   *
   * @param disk the system disk, an index into the option `disks`, or a disk of `vm.plug.disk()`.
   * @throws {UsageError} INVALID_OPTIONS, DEVICE_REFUSED when the disk does not exist.
   * @example await vm.throttle('system', { bps: '1M', iops: 100 })
   */
  async throttle(disk: 'system' | number | PluggedDevice, limits: ThrottleLimits): Promise<void> {
    return throttle(this.qmp, this.#machine, disk, limits)
  }

  /**
   * Returns the host memory that the guest uses, and the part that it shares with other processes.
   * With the option `balloon`, also the memory statistics of the guest itself.
   */
  memory(): Promise<MemoryUse> {
    return readMemoryUse(this.qmp, this.pid, this.#machine)
  }

  /**
   * Stops QEMU, frees the ports and deletes the guest's disk and files. Idempotent.
   * @throws {UsageError} NOT_AWAITED when a call of the test was not awaited, and has failed or is
   *   still running. The guest is disposed of nevertheless.
   */
  async dispose(): Promise<void> {
    try {
      this.calls.close()
    } finally {
      await this.#power.dispose()
    }
  }

  /** Same as `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  /**
   * Runs a diagnostic command in a guest that may be lost: over SSH, else through its agent. Not
   * written to `commands.log`.
   */
  async #runDiagnostic(command: string): Promise<CommandResult> {
    const options = { reject: false } as const
    if (this.#machine.spec.ssh !== undefined) {
      const timeout = DIAGNOSTIC_TIMEOUT_MS.ssh
      const use: UseClient<CommandResult> = (client, signal) =>
        client.exec(command, { ...options, timeout, signal })
      const answer = await this.#useSsh(use, undefined, AbortSignal.timeout(timeout)).catch(() => undefined)
      if (answer !== undefined) return answer
    }
    const limit = AbortSignal.timeout(DIAGNOSTIC_TIMEOUT_MS.agent)
    return this.#race(limit, (signal) => this.#machine.agent.exec(command, { ...options, signal }))
  }

  /**
   * Verifies the invariants of `vm.always()` before and after a command of the test, and ends the
   * command before the test times out.
   */
  async #withInvariants<T>(
    command: string | undefined,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    if (command === undefined) return work(signal)
    // The signal of a check ends its commands.
    if (isInCheck()) return recordCommand(this.#machine.transcripts.commands, command, () => work(signal))
    const listProcesses = async () => (await this.#runDiagnostic(LIST_PROCESSES)).stdout
    const limited = () => limitCommand({ limit: this.waitLimit, signal, listProcesses }, work)
    const logged = () => recordCommand(this.#machine.transcripts.commands, command, limited)
    return this.invariants.around(nameCommand(command), signal, logged)
  }

  /** Runs `use` with a connection, until the guest is lost or `signal` aborts. */
  #useSsh<T>(use: UseClient<T>, user: string | undefined, signal: AbortSignal | undefined): Promise<T> {
    return this.#race(signal, async (either) => use(await this.#power.access.client(user, either), either))
  }

  async #race<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const session = this.#power.requireRunning()
    const { failure } = session.watch
    const either = combineSignals(signal, failure)
    try {
      return await raceSignal(work(either), failure)
    } catch (error) {
      if (isLostConnection(error)) await abortsWithin(failure, LOSS_DETECTION_MS)
      throw failure.aborted ? addEvidence(failure.reason, this.#machine, session) : error
    }
  }
}

/** Returns true for errors that are often the first sign of the guest's end. */
function isLostConnection(error: unknown): boolean {
  return error instanceof VMError && ['SSH_CLOSED', 'SSH_REFUSED', 'AGENT_UNAVAILABLE'].includes(error.code)
}
