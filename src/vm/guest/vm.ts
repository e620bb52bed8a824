import { type CommandOptions, type CommandResult, nameCommand } from '../../channel/command-result.js'
import type { GuestPort } from '../../channel/port/guest-port.js'
import { Keyboard, type KeyboardKey, type KeyboardTypeOptions } from '../../channel/qmp/keyboard.js'
import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { DownloadOptions, TransferOptions } from '../../channel/ssh/transfer.js'
import { abortsWithin, raceSignal } from '../../common/deadline.js'
import { quoteWord } from '../../common/process/shell-quote.js'
import { resolveDuration } from '../../common/resolve-duration.js'
import type { MemorySize } from '../../common/units.js'
import type { WaitLimit } from '../../common/wait-limit.js'
import { VMError, vmError } from '../../errors.js'
import type { Netboot } from '../../net/netboot-server.js'
import type { QemuCommand } from '../../qemu/command.js'
import type { NotCarriedOver } from '../../spec/not-carried-over.js'
import type { Translation } from '../../spec/translation.js'
import { addEvidence } from '../evidence/diagnostics.js'
import { commandLineByHand } from '../evidence/manual-command.js'
import { readPngSize } from '../evidence/picture.js'
import { type SaveOptions, saveLogs } from '../evidence/saved-logs.js'
import { readScreenshot } from '../evidence/screenshot.js'
import { defaultWaitMs } from '../machine/default-wait.js'
import type { Machine, StartedFrom } from '../machine/machine.js'
import { logCommand } from '../machine/transcript.js'
import { handOver, type KeptGuest } from '../power/keep.js'
import { Power, type PowerControls, type StartOptions, type StopOptions } from '../power/power.js'
import { type MemoryUse, readMemoryUse } from '../session/memory-use.js'
import type { PowerOffReason, Session } from '../session/session.js'
import type { StageTime } from '../watch/guest-watch.js'
import type { CheckLike } from './checks/combined.js'
import { Mouse } from './display/mouse.js'
import { findSpice, findVnc, type ScreenServer } from './display/servers.js'
import type { GuestHandle } from './guest-handle.js'
import { noteGuest } from './guest-of.js'
import { type Invariant, Invariants } from './invariants.js'
import { picturesOf } from './pictures.js'
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

/** How long after a lost connection the end of QEMU may be noticed, milliseconds. */
const CAUSE_MS = 250
/** A guest that failed may not answer any more: by SSH, and then by its agent. */
const ANSWER_MS = { ssh: 3000, agent: 2000 } as const

/** A guest: made by `withVM()` or `launchVM()`, thrown away by them or by `await using`. */
export class VM implements GuestHandle {
  /**
   * Runs a command by SSH. As a tag its arguments are quoted; as a function it takes options.
   *
   * @throws {CommandError} COMMAND_FAILED on a non-zero exit code (unless `reject: false`), COMMAND_TIMEOUT.
   * @throws {GuestError} SSH_REFUSED, SSH_AUTH_FAILED, SSH_CLOSED, GUEST_PANICKED, GUEST_STOPPED.
   * @throws {InfrastructureError} QEMU_DIED.
   * @example const { stdout } = await vm.ssh`cat ${path}`
   */
  readonly ssh: Ssh
  /** The serial console: all that was printed since byte 0, over every power-on; waits; and typing. */
  readonly serial: SerialConsole
  /** The guest's keyboard, for what is on its display: firmware, menus, consoles. What is on the serial console has `vm.serial.press()`. */
  readonly keyboard: Keyboard
  /** The guest's pointer, by its place on the display. It needs the option `tablet`. */
  readonly mouse: Mouse
  /** Plugs devices in while the guest runs: disks, cards, processors, memory. */
  readonly plug: Plug
  /** Changes CDs and floppy disks while the guest runs. */
  readonly media: Media
  /** Waits until something is so in the guest: a unit, a file, a port, a process, a reboot, … */
  readonly waitFor: WaitFor<VM>
  readonly #machine: Machine
  readonly #power: Power
  #screenshots = 0

  constructor(machine: Machine, controls: PowerControls, session: Session) {
    this.#machine = machine
    this.#power = new Power(this, machine, controls, session)
    this.serial = noteGuest(machine.serial, this)
    const { commandMs } = machine.spec.timeouts
    this.ssh = createSsh(
      (use, user, signal, command) => this.#around(command, signal, () => this.#useSsh(use, user, signal)),
      { timeoutMs: commandMs, note: (command) => noteGuest(command, this) },
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
  }

  /** The guest's name. */
  get name(): string {
    return this.#machine.spec.name
  }

  /** QEMU's monitor: typed for common commands, any other by its name; and events. */
  get qmp(): QmpClient {
    return this.#power.requireRunning().qmp
  }

  /** Whether the guest is given files by the network: then there is `vm.netboot`. */
  get hasNetboot(): boolean {
    return this.#machine.netboot !== undefined
  }

  /**
   * What this guest asked for, by DHCP, TFTP and HTTP, while it booted from the network.
   * @throws {UsageError} INVALID_OPTIONS for a guest without `netboot` (or `network.tftp`).
   */
  get netboot(): Netboot {
    const { netboot } = this.#machine
    if (netboot !== undefined) return netboot
    throw vmError('INVALID_OPTIONS', {
      summary: `The guest '${this.name}' is given nothing by the network.`,
      hint: 'say `netboot`, or `network.tftp`.',
    })
  }

  get isRunning(): boolean {
    return this.#power.isRunning
  }

  /** The process id of QEMU. */
  get pid(): number {
    return this.#power.session.process.pid
  }

  /** The private folder of this run: overlay, `serial.log`, keys. Gone when the guest is disposed of. */
  get runFolder(): string {
    return this.#machine.workspace.dir
  }

  /** The disk of the base image, which is never written to; undefined for a guest without one. */
  get baseDisk(): string | undefined {
    return this.#machine.spec.image?.disk?.path
  }

  /** What runs the guest's instructions. */
  get accelerator(): 'kvm' | 'tcg' {
    return this.#machine.host.accelerator
  }

  /** Whether this guest was booted, or went on from one that had been booted before. */
  get startedFrom(): StartedFrom {
    return this.#machine.startedFrom
  }

  /** How much longer things take here than on a host with KVM, 1 and more: by that default limits are stretched. */
  get timeFactor(): number {
    return this.#machine.host.timeFactor
  }

  /** Limit of the waits for this guest: they end before its test does. Internal. */
  get waitLimit(): WaitLimit {
    return this.#machine.waitLimit
  }

  /** By what commands that are not the author's own, as those of checks, are run in the guest. */
  get commandChannel(): 'ssh' | 'agent' {
    const { ready, ssh } = this.#machine.spec
    return ssh === undefined || ready === 'agent' ? 'agent' : 'ssh'
  }

  /** Aborts, with the error as its reason, when this power-on is lost: by a panic, a power-off, the end of QEMU. */
  get lost(): AbortSignal {
    return this.#power.session.watch.failure
  }

  /** How often the machine has begun to boot since it was launched: 1, and one more for each reset and each start. */
  get bootCount(): number {
    return this.#power.bootCount
  }

  /** The newest boot, by {@link bootCount}, that was waited for: by a launch, start or reboot, or by `waitFor.reboot()`. */
  get seenBoot(): number {
    return this.#power.seenBoot
  }

  /** The stages of the newest start, with milliseconds since QEMU was started. */
  get timeline(): readonly StageTime[] {
    return this.#power.session.watch.timeline
  }

  /** The program and the arguments that this guest runs by. */
  get qemuCommand(): QemuCommand {
    return this.#power.session.process.command
  }

  /** A line for a shell that boots the same machine by hand, with its console on the terminal. */
  get commandLine(): string {
    return commandLineByHand(this.#machine)
  }

  /**
   * The line that connects GDB to the guest, such as `target remote /tmp/…/gdb.sock`; undefined without `debug.gdb`.
   *
   * @example execa('gdb', ['-batch', '-ex', vm.gdb, '-ex', 'info registers'])
   */
  get gdb(): string | undefined {
    const { gdb = false } = this.#machine.spec.debug
    if (gdb === false) return undefined
    return `target remote ${gdb === true ? this.#machine.workspace.socket('gdb.sock') : `127.0.0.1:${gdb}`}`
  }

  /** What became of the parts of `commandLine` that QEMU dropped, or that withvm does in a way of its own, each with the reason. */
  get translated(): readonly Translation[] {
    return this.#machine.translated
  }

  /** What of the domain of `libvirtXML` has no place in the options, each with the reason. */
  get notCarriedOver(): readonly NotCarriedOver[] {
    return this.#machine.notCarriedOver
  }

  /** A line for a shell that logs in to this guest while it runs; undefined where the key is not ours. */
  get sshCommandLine(): string | undefined {
    const { ssh } = this.#machine.spec
    if (ssh === undefined || this.#machine.keys === undefined) return undefined
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
   * The port of this host that leads to a port of the guest.
   * @throws {UsageError} INVALID_OPTIONS when that port is not forwarded.
   */
  hostPort(guestPort: number, protocol: 'tcp' | 'udp' = 'tcp'): number {
    const { forwards } = this.#machine.spec
    const index = forwards.findIndex(
      (forward) => forward.guest === guestPort && forward.protocol === protocol,
    )
    const port = this.#machine.ports.hostPorts[index]
    if (port !== undefined) return port
    throw vmError('INVALID_OPTIONS', {
      summary: `The guest's ${protocol} port ${guestPort} is not forwarded.`,
      expected: `one of ${forwards.map((forward) => `${forward.protocol} ${forward.guest}`).join(', ') || '(none is)'}`,
      got: `${protocol} ${guestPort}`,
      hint: `add { guest: ${guestPort}${protocol === 'udp' ? ", protocol: 'udp'" : ''} } to \`hostfwd\`.`,
    })
  }

  /**
   * This end of a character device of `ports`.
   * @throws {UsageError} INVALID_OPTIONS when there is none of that name.
   * @example await vm.port('control').write('hello\n')
   */
  port(name: string): GuestPort {
    const { guestPorts } = this.#machine
    const found = guestPorts.find(({ port }) => port.name === name)
    if (found !== undefined) return found.port
    throw vmError('INVALID_OPTIONS', {
      summary: `The guest has no port '${name}'.`,
      expected: `one of ${guestPorts.map(({ port }) => port.name).join(', ') || '(none is)'}`,
      got: name,
      hint: `add { name: '${name}' } to \`ports\`.`,
    })
  }

  /** The URL on this host of a server in the guest. @default path '/', protocol 'http' */
  url(guestPort: number, path = '/', protocol: 'http' | 'https' = 'http'): string {
    return `${protocol}://127.0.0.1:${this.hostPort(guestPort)}${path.startsWith('/') ? path : `/${path}`}`
  }

  /**
   * Runs a command by the guest agent: without network and SSH. Same result as `vm.ssh()`.
   *
   * @throws {CommandError} COMMAND_FAILED, COMMAND_TIMEOUT.
   * @throws {GuestError} AGENT_UNAVAILABLE when no agent answers in the guest.
   */
  exec(
    command: string,
    options: CommandOptions & { readonly encoding: 'buffer' },
  ): Promise<CommandResult<Buffer>>
  exec(command: string, options?: CommandOptions): Promise<CommandResult>
  exec(command: string, options: CommandOptions = {}): Promise<CommandResult<string | Buffer>> {
    const timeout = options.timeout ?? this.#machine.spec.timeouts.commandMs
    const running = this.#around(command, options.signal, () =>
      this.#race(options.signal, (signal) =>
        this.#machine.agent.exec(command, { ...options, timeout, signal }),
      ),
    )
    return noteGuest(running, this)
  }

  /**
   * Copies a file or a folder into the guest, by SFTP.
   * @throws {GuestError} TRANSFER_FAILED
   */
  upload(localPath: string, guestPath: string, options: TransferOptions = {}): Promise<void> {
    const use: UseClient<void> = (client, signal) =>
      client.upload(localPath, guestPath, { ...options, signal })
    return this.#useSsh(use, undefined, options.signal)
  }

  /**
   * Copies a file or a folder out of the guest, by SFTP.
   * @throws {GuestError} TRANSFER_FAILED
   */
  download(guestPath: string, localPath: string, options: DownloadOptions = {}): Promise<void> {
    const use: UseClient<void> = (client, signal) =>
      client.download(guestPath, localPath, { ...options, signal })
    return this.#useSsh(use, undefined, options.signal)
  }

  /**
   * Holds something to be so all the time: looked at now, before and after each command that is run by `vm.ssh` and
   * `vm.exec`, and during waits. Once it is not so, that command or wait fails, and every later one until `stop()`.
   *
   * @param check one of `checks`, or a function that gives `false` or throws when it is not so.
   * @throws {GuestError} INVARIANT_BROKEN when it is not so to begin with.
   * @example await using nginx = await vm.always('nginx is up', checks.processRuns('nginx'))
   */
  async always(name: string, check: CheckLike<unknown, VM>): Promise<Invariant> {
    this.#power.requireRunning()
    return Invariants.of(this).add(name, check)
  }

  /**
   * Restarts the guest in an orderly way (by SSH or its agent; a hard reset where it has neither) and waits
   * until it is ready again.
   * @throws {GuestError} STATE_TIMEOUT when it does not go down in time; else as a start.
   */
  reboot(options: StopOptions = {}): Promise<void> {
    return this.#power.reboot(options)
  }

  /**
   * Switches the guest off in an orderly way, as its power button does, and waits until it is off.
   * @throws {GuestError} STATE_TIMEOUT when it does not go down in time.
   */
  shutdown(options: StopOptions = {}): Promise<void> {
    return this.#power.shutdown(options)
  }

  /** Ends the guest at once, as when the power fails: what it had not flushed to its disk may be lost. */
  powerCut(): Promise<void> {
    return this.#power.powerCut()
  }

  /**
   * Switches the guest on again, with the disk that it had. Waits until it is ready.
   * @throws {UsageError} VM_RUNNING when it is not off; else as a start.
   */
  start(options: StartOptions = {}): Promise<void> {
    return this.#power.start(options)
  }

  /** Waits until this power-on is over, and tells why. @default timeout none */
  wait(
    options: StopOptions = {},
  ): Promise<{ readonly reason: PowerOffReason; readonly exitCode: number | undefined }> {
    return this.#power.wait(options)
  }

  /** Waits until the guest is ready, in the sense of its option `ready`: after a reset of its own, say. */
  waitUntilReady(signal?: AbortSignal): Promise<void> {
    return this.#power.waitUntilReady(signal)
  }

  /**
   * Saves what is known of this guest to a folder of its name below `folder`: `serial.log`, `commands.log` (what was
   * run, with times), `qmp.log`, `qemu.log`, `guest.txt`, `command-line.txt`, `screenshot.png` where it has a display,
   * `seen-1.png` and so on where a matcher looked at that in vain, and `dmesg.txt` and `journal.txt` where it still answers. Gives the folder. `withVM()` does so by itself when its
   * body fails, if the option `artifacts` is given.
   */
  saveLogs(folder: string, options: SaveOptions = {}): Promise<string> {
    const canAnswer = this.isRunning && !this.lost.aborted
    return saveLogs(this.#machine, folder, {
      ...options,
      session: this.#power.session,
      pictures: picturesOf(this),
      ask: canAnswer ? (command) => this.#ask(command) : undefined,
    })
  }

  /**
   * Leaves the guest running when this process ends, for a person to look into: until the time is up that its option
   * `keepOnFailure` says, or `withvm stop`. To this process it is then as one that was disposed of. `withVM()` and the
   * fixtures do so by themselves after a failure.
   *
   * @param why for `withvm ps`.
   * @throws {UsageError} INVALID_OPTIONS unless it was started with `keepOnFailure` or WITHVM_KEEP, VM_NOT_RUNNING.
   */
  async keep(why: string): Promise<KeptGuest> {
    const kept = await handOver(this.#machine, this.#power.requireRunning(), why)
    await this.dispose()
    return kept
  }

  /** The names of the checkpoints that the guest can go back to. */
  get checkpoints(): readonly string[] {
    return this.#power.checkpoints
  }

  /**
   * Keeps the guest as it is now, RAM and disk, under a name, and lets it go on. A name that there is already is given anew.
   * Checkpoints last until the guest is switched off.
   *
   * @throws {InfrastructureError} CHECKPOINT_FAILED when a device cannot be saved, or there is no disk; NO_SPACE.
   * @example await vm.checkpoint('installed')
   */
  checkpoint(name: string, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#power.checkpoint(name, options.signal)
  }

  /**
   * Puts the guest back to where it was at a checkpoint, RAM and disk, whatever became of it since; only its clock is set to
   * now. Commands that were running end. Its console's log goes on.
   *
   * @throws {UsageError} INVALID_OPTIONS when there is no such checkpoint.
   * @throws {InfrastructureError} CHECKPOINT_FAILED
   * @example await vm.restore('installed')
   */
  restore(name: string, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#power.restore(name, options.signal)
  }

  /** Whether it was started so that it can be left running. */
  get canBeKept(): boolean {
    return this.#machine.keeper !== undefined
  }

  /** Does so if it was started to be kept and still runs. What cannot be kept is thrown away as ever. */
  async keepIfWanted(why: string): Promise<KeptGuest | undefined> {
    if (!this.canBeKept || !this.isRunning) return undefined
    return this.keep(why).catch((error: Error) => {
      this.#machine.log(`the guest '${this.name}' could not be left running: ${error.message}`)
      return undefined
    })
  }

  /**
   * What the guest's display shows, as PNG.
   *
   * @throws {UsageError} DISPLAY_UNAVAILABLE when it has no display: see the option `vga`.
   * @example await writeFile('screen.png', await vm.screenshot())
   */
  async screenshot(): Promise<Buffer> {
    const { qmp } = this.#power.requireRunning()
    const { folder } = this.#machine.workspace
    const file = { folder, name: `screen-${++this.#screenshots}.png` }
    return readScreenshot(qmp, file, this.timeFactor)
  }

  /**
   * Presses keys of the guest's keyboard, one after the other: short for `vm.keyboard.press()`.
   *
   * @throws {UsageError} INVALID_OPTIONS when there is no such key.
   * @example await vm.press('ctrl-alt-f2')
   */
  press(...keys: readonly KeyboardKey[]): Promise<void> {
    return this.keyboard.press(...keys)
  }

  /**
   * Types a text on the guest's keyboard: short for `vm.keyboard.type()`.
   *
   * @throws {UsageError} INVALID_OPTIONS when the layout lacks one of its characters: then nothing is typed.
   * @example await vm.type('root\n', { layout: 'de' })
   */
  type(text: string, options?: KeyboardTypeOptions): Promise<void> {
    return this.keyboard.type(text, options)
  }

  /** Where the VNC server of the option `vnc` listens. @throws {UsageError} DISPLAY_UNAVAILABLE when there is none. */
  vnc(): Promise<ScreenServer> {
    return findVnc(this.qmp, this.#machine.spec)
  }

  /** Where the SPICE server of the option `spice` listens. @throws {UsageError} DISPLAY_UNAVAILABLE when there is none. */
  async spice(): Promise<ScreenServer> {
    this.#power.requireRunning()
    return findSpice(this.#machine.spec, this.#machine.workspace.socket('spice.sock'))
  }

  /**
   * Pulls the cable of a network card, or puts it back (QMP: `set_link`). By the first card goes SSH: `vm.exec()` needs none.
   *
   * @throws {UsageError} INVALID_OPTIONS, DEVICE_REFUSED when there is no such card.
   * @example await vm.setLink(false)
   */
  setLink(isUp: boolean, options: LinkOptions = {}): Promise<void> {
    return setLink(this.qmp, this.#machine, isUp, options)
  }

  /**
   * Takes memory from the guest until it has so much, or gives it back, and waits for it (QMP: `balloon`). It needs the option
   * `balloon`, and in the guest the driver `virtio_balloon`.
   *
   * @param size what the guest is to have: MiB, or with a unit.
   * @returns what it has, bytes.
   * @throws {GuestError} UNPLUG_FAILED when it does not come to that in time.
   * @throws {UsageError} INVALID_OPTIONS, DEVICE_REFUSED when it has no balloon.
   */
  async balloon(size: MemorySize, { timeout }: BalloonOptions = {}): Promise<number> {
    const longest = resolveDuration('timeout', timeout) ?? defaultWaitMs(this)
    const timeoutMs = Math.min(longest, this.waitLimit())
    return setBalloon(this.qmp, this.#machine, size, { timeoutMs, signal: this.lost })
  }

  /**
   * Limits what a disk does from now on (QMP: `block_set_io_throttle`). `{}` takes the limits away.
   *
   * @param disk the system's, one of the option `disks` by its place, or one that was plugged in.
   * @throws {UsageError} INVALID_OPTIONS, DEVICE_REFUSED when there is no such disk.
   * @example await vm.throttle('system', { bps: '1M', iops: 100 })
   */
  async throttle(disk: 'system' | number | PluggedDevice, limits: ThrottleLimits): Promise<void> {
    return throttle(this.qmp, this.#machine, disk, limits)
  }

  /**
   * What the guest takes of this host's memory, and how much of that it shares with others; with the option `balloon`, also what
   * the guest says of its own.
   */
  memory(): Promise<MemoryUse> {
    return readMemoryUse(this.qmp, this.pid, this.#machine)
  }

  /** Throws the guest away: its QEMU, its disk, its ports and its files. Safe to call again. */
  dispose(): Promise<void> {
    return this.#power.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  /** Asks a guest that may be lost: by SSH, else by its agent. It is not the author's command, so it is not logged. */
  async #ask(command: string): Promise<CommandResult> {
    const options = { reject: false } as const
    if (this.#machine.spec.ssh !== undefined) {
      const timeout = ANSWER_MS.ssh
      const use: UseClient<CommandResult> = (client, signal) =>
        client.exec(command, { ...options, timeout, signal })
      const answer = await this.#useSsh(use, undefined, AbortSignal.timeout(timeout)).catch(() => undefined)
      if (answer !== undefined) return answer
    }
    const limit = AbortSignal.timeout(ANSWER_MS.agent)
    return this.#race(limit, (signal) => this.#machine.agent.exec(command, { ...options, signal }))
  }

  /** Looks at what `vm.always()` was given, before and after a command of the author's. */
  async #around<T>(
    command: string | undefined,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    if (command === undefined) return work()
    const logged = () => logCommand(this.#machine.transcripts.commands, command, work)
    return Invariants.of(this).around(nameCommand(command), signal, logged)
  }

  /** Runs `use` with a connection, until the guest is lost or `signal` aborts. */
  #useSsh<T>(use: UseClient<T>, user: string | undefined, signal: AbortSignal | undefined): Promise<T> {
    return this.#race(signal, async (either) => use(await this.#power.access.client(user, either), either))
  }

  async #race<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const session = this.#power.requireRunning()
    const { failure } = session.watch
    const either = signal === undefined ? failure : AbortSignal.any([signal, failure])
    try {
      return await raceSignal(work(either), failure)
    } catch (error) {
      if (isLostConnection(error)) await abortsWithin(failure, CAUSE_MS)
      throw failure.aborted ? addEvidence(failure.reason, this.#machine, session) : error
    }
  }
}

/** Errors that are often only the first sign of the guest's end. */
function isLostConnection(error: unknown): boolean {
  return error instanceof VMError && ['SSH_CLOSED', 'SSH_REFUSED', 'AGENT_UNAVAILABLE'].includes(error.code)
}
