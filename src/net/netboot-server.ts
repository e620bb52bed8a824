import { basename, join } from 'node:path'
import type { OpenFolder } from '../common/files/open-folder.js'
import { type VMError, vmError } from '../errors.js'
import type { HttpFault, NetbootClient, NetbootFile } from '../spec/netboot.js'
import { CAPTURE_FILTER, type NetbootSpec } from '../spec/netboot-spec.js'
import { urlOf } from '../spec/resolve/resolve-netboot.js'
import { BoundedList } from './bounded-list.js'
import { CaptureFiles } from './capture-files.js'
import { connectorCommand } from './connector.js'
import type { DhcpExchange } from './dhcp.js'
import { FileServer, type ServedContent } from './file-server.js'
import { findLoop, findProblem, type NetbootProblem } from './netboot-problem.js'
import { type NetbootRequest, normalizePath } from './netboot-request.js'
import { ServedFolder } from './served-folder.js'
import { WireLog } from './wire-log.js'

/** Network boot of a guest: its requests and the files served to it. */
export interface Netboot {
  /** File requests over TFTP and HTTP in order, over all power-ons: at least the newest 10,000. */
  readonly requests: readonly NetbootRequest[]
  /** DHCP exchanges in order, over all power-ons: at least the newest 1,000. */
  readonly dhcp: readonly DhcpExchange[]
  /** Numbers of packets, connections and entries that are not in these lists. */
  readonly dropped: NetbootDropped
  /**
   * Detected problem: a missing or changed file, a loop of boot loaders, no DHCP reply. Undefined
   * if none is detected.
   */
  readonly problem: string | undefined
  /** Names of the served files. */
  readonly files: readonly string[]
  /** URL of the files in the guest's network; undefined without `http`. */
  readonly url: string | undefined
  /**
   * Injects a fault into HTTP responses of a file, or removes it if `fault` is undefined.
   * @throws {UsageError} INVALID_OPTIONS when `netboot.http` is not enabled.
   * @example vm.netboot.setFault('initrd.gz', { cutAfter: 1024, times: 1 })
   */
  setFault(path: string, fault?: HttpFault): void
}

/** Numbers of dropped packets, connections and entries, over all power-ons. */
export interface NetbootDropped {
  /** Packets and HTTP requests that violate their protocol. */
  readonly malformed: number
  /**
   * HTTP connections beyond the limit of 64 open ones, or with more than 16 unanswered requests.
   */
  readonly connections: number
  /** Oldest entries of `requests`. */
  readonly requests: number
  /** Oldest entries of `dhcp`. */
  readonly dhcp: number
  /** Oldest capture files. The other files are in `vm.runFolder`. */
  readonly captures: number
}

/** Part of a session that is used here. */
interface StartedGuest {
  readonly qmp: {
    execute(command: 'object-add' | 'object-del', args: object): Promise<unknown>
    on(event: 'RESET', listener: () => void): unknown
  }
  pauseDuring(work: () => Promise<void>): Promise<void>
}

/**
 * Poll interval of the capture. Files that are functions must be created as soon as the guest sends
 * its first request.
 */
const POLL_MS = { withFunctions: 20, otherwise: 250 } as const

const HTTP_SOCKET = 'http.sock'

/**
 * Maximum number of recorded requests, which bounds the memory if the guest floods the server. No
 * boot needs more.
 */
const MAX_REQUESTS = 10_000

/** Serves the files of a network boot and records the requests of the guest. */
export class NetbootServer implements Netboot {
  readonly folder: ServedFolder
  readonly spec: NetbootSpec
  readonly #runFolder: OpenFolder
  readonly #captures: CaptureFiles
  /** QOM id of the object that writes the capture. */
  #captureId: string = CAPTURE_FILTER.id
  readonly #wire: WireLog
  readonly #requests = new BoundedList<NetbootRequest>(MAX_REQUESTS)
  readonly #functions: ReadonlyArray<readonly [string, Extract<NetbootFile, (...args: never[]) => unknown>]>
  readonly #changes = new Map<string, string>()
  #http: FileServer | undefined
  #relayCommand: string | undefined
  #powerOns = 0
  /** True if the network is first in the boot order of this boot. */
  #isFirst = false
  #onProblem: ((error: VMError, stage: NetbootProblem['stage']) => void) | undefined
  #guest: StartedGuest | undefined
  #timer: NodeJS.Timeout | undefined
  #seenExchanges = 0
  /** Start of the newest boot in the lists. */
  #bootFrom = { requests: 0, dhcp: 0 }
  #failure: string | undefined

  private constructor(
    spec: NetbootSpec,
    { runFolder, captureBytes }: { readonly runFolder: OpenFolder; readonly captureBytes: number },
    folder: ServedFolder,
  ) {
    this.spec = spec
    this.#runFolder = runFolder
    this.#captures = new CaptureFiles(runFolder, captureBytes)
    this.folder = folder
    this.#functions = Object.entries(spec.files).flatMap(([path, file]) =>
      typeof file === 'function' ? [[path, file] as const] : [],
    )
    const log = {
      begin: (request: NetbootRequest) => this.#requests.push(request),
      end: (request: NetbootRequest) => this.#noteChange(request.path),
    }
    this.#wire = new WireLog(log)
  }

  /**
   * Creates the served folder, and starts the HTTP server if it is enabled.
   * @param options.trees folders whose files are served. Files of later folders override those of
   *   earlier ones.
   * @param options.captureBytes maximum size of the captures on the host's disk.
   */
  static async start(options: {
    readonly spec: NetbootSpec
    readonly trees: readonly string[]
    readonly runFolder: OpenFolder
    /** Folder for the HTTP socket. */
    readonly sockets: OpenFolder
    readonly captureBytes: number
  }): Promise<NetbootServer> {
    const { spec, trees, runFolder, sockets } = options
    const isUnchanged = trees.length === 1 && trees[0] === spec.root && Object.keys(spec.files).length === 0
    const folder = isUnchanged
      ? await ServedFolder.of(spec.root as string)
      : await ServedFolder.join(join(runFolder.path, 'netboot'), trees)
    const server = new NetbootServer(spec, options, folder)
    try {
      for (const [path, file] of Object.entries(spec.files)) {
        if (typeof file !== 'function') await folder.put(path, file)
      }
      if (spec.http !== undefined) await server.#serveHttp(sockets, spec.http.faults)
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  get requests(): readonly NetbootRequest[] {
    this.#wire.readOn()
    return this.#requests.entries
  }

  get dhcp(): readonly DhcpExchange[] {
    this.#wire.readOn()
    return this.#wire.exchanges.entries
  }

  get dropped(): NetbootDropped {
    this.#wire.readOn()
    return {
      malformed: this.#wire.malformed + (this.#http?.malformed ?? 0),
      connections: this.#http?.refused ?? 0,
      requests: this.#requests.dropped,
      dhcp: this.#wire.exchanges.dropped,
      captures: this.#captures.dropped,
    }
  }

  /** Error of the last attempt to read the capture; undefined if it succeeded. */
  get captureProblem(): string | undefined {
    return this.#wire.problem
  }

  get files(): readonly string[] {
    return [
      ...new Set([...this.folder.names, ...this.#functions.map(([path]) => normalizePath(path))]),
    ].sort()
  }

  get url(): string | undefined {
    const { http } = this.spec
    return http && urlOf(http)
  }

  get problem(): string | undefined {
    return this.findProblem()?.text
  }

  /** Returns the problem of the newest boot; undefined if none is detected. */
  findProblem(): NetbootProblem | undefined {
    this.#wire.readOn()
    return findProblem({
      requests: this.#requests.since(this.#bootFrom.requests),
      dhcp: this.#wire.exchanges.since(this.#bootFrom.dhcp),
      files: this.files,
      changes: this.#changes,
      failure: this.#failure,
      bootfile: this.spec.httpBoot ?? this.spec.bootfile,
      isFirst: this.#isFirst,
    })
  }

  setFault(path: string, fault?: HttpFault): void {
    if (this.#http === undefined)
      throw vmError('INVALID_OPTIONS', {
        summary: 'vm.netboot.setFault() requires HTTP, which is not enabled for this guest.',
        hint: 'Set `netboot: { http: true }`.',
      })
    this.#http.setFault(path, fault)
  }

  /** Begins a power-on with its own capture file. Returns the values for the arguments of QEMU. */
  beginPowerOn() {
    this.#powerOns++
    const captureFile = this.#captures.next('power-on')
    this.#captureId = CAPTURE_FILTER.id
    this.#wire.follow(captureFile)
    this.#beginBoot()
    const { isFirst, once } = this.spec
    this.#isFirst = isFirst && !(once && this.#powerOns > 1)
    return {
      folder: this.folder.dir,
      captureFile,
      relayCommand: this.#relayCommand,
      isFirst: this.#isFirst,
    }
  }

  /** Monitors a started guest. @param onProblem called with a problem that prevents the boot. */
  follow(guest: StartedGuest, onProblem: (error: VMError, stage: NetbootProblem['stage']) => void): void {
    this.#guest = guest
    this.#onProblem = onProblem
    guest.qmp.on('RESET', () => {
      this.#wire.abandon()
      this.#isFirst &&= !this.spec.once
      this.#beginBoot()
    })
    this.#schedule()
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#guest = undefined
    this.#wire.readOn()
    this.#wire.close()
    await this.#http?.close()
    await this.folder.close()
  }

  #beginBoot(): void {
    this.#bootFrom = { requests: this.#requests.total, dhcp: this.#wire.exchanges.total }
    this.#changes.clear()
    this.#failure = undefined
  }

  async #serveHttp(sockets: OpenFolder, faults: Readonly<Record<string, HttpFault>>): Promise<void> {
    this.#http = await FileServer.listen({
      socket: sockets.entry(HTTP_SOCKET),
      find: (path) => this.#findContent(path),
      onRequest: (request) => {
        this.#wire.readOn() // keeps the order: earlier requests over TFTP are added first
        this.#requests.push(request)
      },
      onEnd: (request) => this.#noteChange(request.path),
    })
    for (const [path, fault] of Object.entries(faults)) this.#http.setFault(path, fault)
    this.#relayCommand = await connectorCommand({
      socket: join(sockets.path, HTTP_SOCKET),
      program: join(this.#runFolder.path, 'forward-http'),
    })
  }

  async #findContent(path: string): Promise<ServedContent | undefined> {
    const name = normalizePath(path)
    const made = this.#functions.find(([of]) => normalizePath(of) === name)?.[1]
    if (made === undefined) return this.folder.find(path)
    const content = await made(this.#client() ?? UNKNOWN_CLIENT)
    return typeof content === 'string' ? Buffer.from(content) : content
  }

  #client(): NetbootClient | undefined {
    const exchange = this.dhcp.at(-1)
    return exchange && { mac: exchange.mac, firmware: exchange.firmware, uuid: exchange.uuid }
  }

  #schedule(): void {
    const pollMs = this.#functions.length > 0 ? POLL_MS.withFunctions : POLL_MS.otherwise
    this.#timer = setTimeout(() => {
      const next = () => this.#guest !== undefined && this.#schedule()
      this.#poll().then(next, next) // a function that fails was reported
    }, pollMs).unref()
  }

  /**
   * Reads the capture, creates files when a guest requests its address, and detects loops of boot
   * loaders.
   */
  async #poll(): Promise<void> {
    this.#wire.readOn()
    if (this.#captures.isFull) await this.#beginCapture()
    const { total } = this.#wire.exchanges
    if (this.#functions.length > 0 && total > this.#seenExchanges) {
      this.#seenExchanges = total
      await this.#makeFiles()
    }
    const loop = findLoop(this.#requests.since(this.#bootFrom.requests))
    if (loop !== undefined) this.#fail(loop)
  }

  /**
   * Makes QEMU write to a new capture file. Both commands are sent together: no packet is lost, few
   * are in both files.
   */
  async #beginCapture(): Promise<void> {
    const monitor = this.#guest?.qmp
    if (monitor === undefined) return
    const file = this.#captures.next('full')
    const [before, id] = [this.#captureId, basename(file, '.pcap')]
    this.#captureId = id
    const { type, netdev, maxlen } = CAPTURE_FILTER
    const commands = [
      monitor.execute('object-add', { 'qom-type': type, id, netdev, file, maxlen }),
      monitor.execute('object-del', { id: before }),
    ]
    await Promise.all(commands).catch(() => {}) // the guest was powered off
    if (this.#captureId === id) this.#wire.continueWith(file)
  }

  /**
   * Creates the files that are functions. The guest is paused: it requests the first file soon
   * after its address.
   */
  async #makeFiles(): Promise<void> {
    const client = this.#client() ?? UNKNOWN_CLIENT
    await this.#guest?.pauseDuring(async () => {
      for (const [path, make] of this.#functions) {
        try {
          await this.folder.put(path, await make(client))
        } catch (error) {
          this.#failure = `The function for ${path} failed: ${(error as Error)?.message ?? error}`
          const hint = 'Correct the function. It is called with the client that requests an address.'
          this.#fail({ stage: 'files', text: this.#failure, hint })
        }
      }
    })
  }

  #fail({ stage, text, hint }: NetbootProblem): void {
    const summary = `The guest cannot boot from the network. ${text}.`
    this.#onProblem?.(vmError('NETBOOT_FAILED', { summary, hint }), stage)
  }

  #noteChange(path: string): void {
    this.folder.findChange(path).then(
      (change) => change !== undefined && this.#changes.set(path, change),
      () => {}, // only used for a hint
    )
  }
}

const UNKNOWN_CLIENT: NetbootClient = { mac: '', firmware: 'unknown', uuid: undefined }
