import { basename, join } from 'node:path'
import type { OpenFolder } from '../common/files/open-folder.js'
import { type VMError, vmError } from '../errors.js'
import type { HttpFault, NetbootClient, NetbootFile } from '../spec/netboot.js'
import { CAPTURE, type NetbootSpec } from '../spec/netboot-spec.js'
import { urlOf } from '../spec/resolve/resolve-netboot.js'
import { BoundedList } from './bounded-list.js'
import { CaptureFiles } from './capture-files.js'
import { connectorCommand } from './connector.js'
import type { DhcpExchange } from './dhcp.js'
import { FileServer, type ServedContent } from './file-server.js'
import { type NetbootRequest, normalisePath } from './netboot-request.js'
import { findLoop, findTrouble, type NetbootTrouble } from './netboot-trouble.js'
import { ServedFolder } from './served-folder.js'
import { WireLog } from './wire-log.js'

/** What a guest that boots from the network asked for, and was given. */
export interface Netboot {
  /** Files that the guest requested by TFTP and HTTP, over all power-ons, in their order: the newest 10,000 at least. */
  readonly requests: readonly NetbootRequest[]
  /** DHCP exchanges, over all power-ons, in their order: the newest 1,000 at least. */
  readonly dhcp: readonly DhcpExchange[]
  /** Counts of what the guest sent and these lists do not have. */
  readonly dropped: NetbootDropped
  /** What is wrong, as far as can be told: a file that is missing or was changed, a loop of loaders, no answer by DHCP. */
  readonly trouble: string | undefined
  /** The names of the files that the guest can ask for. */
  readonly files: readonly string[]
  /** Where the guest finds the files by HTTP; undefined without `http`. */
  readonly url: string | undefined
  /**
   * From now on this goes wrong with a file by HTTP; without a fault nothing more.
   * @throws {UsageError} INVALID_OPTIONS without `http`.
   * @example vm.netboot.setFault('initrd.gz', { cutAfter: 1024, times: 1 })
   */
  setFault(path: string, fault?: HttpFault): void
}

/** What was dropped of what a guest sent, over all power-ons. */
export interface NetbootDropped {
  /** Packets and HTTP requests that contradict their protocol. */
  readonly malformed: number
  /** HTTP connections above the 64 that a guest may have open at once. */
  readonly connections: number
  /** The oldest entries of `requests`. */
  readonly requests: number
  /** The oldest entries of `dhcp`. */
  readonly dhcp: number
  /** The oldest files of the capture: the others are in `vm.runFolder`. */
  readonly captures: number
}

/** What of the machine's monitor is needed. */
interface Monitor {
  execute(command: 'stop' | 'cont'): Promise<unknown>
  execute(command: 'object-add' | 'object-del', args: object): Promise<unknown>
  on(event: 'RESET', listener: () => void): unknown
}

/** How often the wire is looked at where a function waits for the guest's question, and else, milliseconds. */
const LOOK_MS = { functions: 20, else: 250 } as const

const HTTP_SOCKET = 'http.sock'

/** No boot needs more requests; one that floods the server gets no more of this process's memory. */
const MOST_REQUESTS = 10_000

/** Serves a guest that boots from the network, and follows what it asks for. */
export class NetbootServer implements Netboot {
  readonly folder: ServedFolder
  readonly spec: NetbootSpec
  readonly #runFolder: OpenFolder
  readonly #captures: CaptureFiles
  /** The name of the object that writes the capture, at QEMU's monitor. */
  #captureId: string = CAPTURE.id
  readonly #wire: WireLog
  readonly #requests = new BoundedList<NetbootRequest>(MOST_REQUESTS)
  readonly #functions: ReadonlyArray<readonly [string, Extract<NetbootFile, (...args: never[]) => unknown>]>
  readonly #changes = new Map<string, string>()
  #http: FileServer | undefined
  #relayCommand: string | undefined
  #powerOns = 0
  /** Whether the firmware looks at the network first, this time. */
  #isFirst = false
  #onTrouble: ((error: VMError, stage: NetbootTrouble['stage']) => void) | undefined
  #monitor: Monitor | undefined
  #timer: NodeJS.Timeout | undefined
  #seenExchanges = 0
  /** Where the newest boot begins in the lists. */
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
   * Makes the folder, and the server for HTTP where it is wanted.
   * @param options.trees folders whose files are served, a later one's in place of an earlier one's.
   * @param options.captureBytes how much of the host's disk the captures may take.
   */
  static async start(options: {
    readonly spec: NetbootSpec
    readonly trees: readonly string[]
    readonly runFolder: OpenFolder
    /** The folder of the socket for HTTP. */
    readonly sockets: OpenFolder
    readonly captureBytes: number
  }): Promise<NetbootServer> {
    const { spec, trees, runFolder, sockets } = options
    const isAsItIs = trees.length === 1 && trees[0] === spec.root && Object.keys(spec.files).length === 0
    const folder = isAsItIs
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

  /** Why the capture could not be read the last time; undefined where it could. */
  get captureProblem(): string | undefined {
    return this.#wire.problem
  }

  get files(): readonly string[] {
    return [
      ...new Set([...this.folder.names, ...this.#functions.map(([path]) => normalisePath(path))]),
    ].sort()
  }

  get url(): string | undefined {
    const { http } = this.spec
    return http && urlOf(http)
  }

  get trouble(): string | undefined {
    return this.findTrouble()?.text
  }

  /** What is wrong with the newest boot. */
  findTrouble(): NetbootTrouble | undefined {
    this.#wire.readOn()
    return findTrouble({
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
        summary: 'vm.netboot.setFault() is for files that the guest gets by HTTP, and it has no HTTP.',
        hint: 'say netboot: { http: true }.',
      })
    this.#http.setFault(path, fault)
  }

  /** What of QEMU's arguments belongs to one power-on: called for each, as each has a capture of its own. */
  beginPowerOn() {
    this.#powerOns++
    const captureFile = this.#captures.next('power-on')
    this.#captureId = CAPTURE.id
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

  /** Follows a guest that was started. @param onTrouble called with what its boot cannot get over. */
  follow(monitor: Monitor, onTrouble: (error: VMError, stage: NetbootTrouble['stage']) => void): void {
    this.#monitor = monitor
    this.#onTrouble = onTrouble
    monitor.on('RESET', () => {
      this.#wire.abandon()
      this.#isFirst &&= !this.spec.once
      this.#beginBoot()
    })
    this.#schedule()
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#monitor = undefined
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
        this.#wire.readOn() // what came before it stands before it
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
    const name = normalisePath(path)
    const made = this.#functions.find(([of]) => normalisePath(of) === name)?.[1]
    if (made === undefined) return this.folder.find(path)
    const content = await made(this.#client() ?? UNKNOWN_CLIENT)
    return typeof content === 'string' ? Buffer.from(content) : content
  }

  #client(): NetbootClient | undefined {
    const exchange = this.dhcp.at(-1)
    return exchange && { mac: exchange.mac, firmware: exchange.firmware, uuid: exchange.uuid }
  }

  #schedule(): void {
    const everyMs = this.#functions.length > 0 ? LOOK_MS.functions : LOOK_MS.else
    this.#timer = setTimeout(() => {
      const next = () => this.#monitor !== undefined && this.#schedule()
      this.#look().then(next, next) // a function that fails was reported
    }, everyMs).unref()
  }

  /** Makes the files of a guest that asks for its address, and looks for a boot that turns in circles. */
  async #look(): Promise<void> {
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

  /** Has QEMU write to a new file. Both orders are sent at once, so that next to nothing is in both files, and nothing in none. */
  async #beginCapture(): Promise<void> {
    const monitor = this.#monitor
    if (monitor === undefined) return
    const file = this.#captures.next('full')
    const [before, id] = [this.#captureId, basename(file, '.pcap')]
    this.#captureId = id
    const { type, netdev, maxlen } = CAPTURE
    const orders = [
      monitor.execute('object-add', { 'qom-type': type, id, netdev, file, maxlen }),
      monitor.execute('object-del', { id: before }),
    ]
    await Promise.all(orders).catch(() => {}) // the guest was switched off
    if (this.#captureId === id) this.#wire.continueWith(file)
  }

  /** The guest stands still meanwhile: it asks for the first file a moment after it has its address. */
  async #makeFiles(): Promise<void> {
    const client = this.#client() ?? UNKNOWN_CLIENT
    const monitor = this.#monitor
    await monitor?.execute('stop').catch(() => {})
    try {
      for (const [path, make] of this.#functions) {
        try {
          await this.folder.put(path, await make(client))
        } catch (error) {
          this.#failure = `The function for ${path} failed: ${(error as Error)?.message ?? error}`
          const hint = 'correct the function: it is called with the guest that asks for its address.'
          this.#fail({ stage: 'files', text: this.#failure, hint })
        }
      }
    } finally {
      await monitor?.execute('cont').catch(() => {})
    }
  }

  #fail({ stage, text, hint }: NetbootTrouble): void {
    const summary = `The guest cannot boot from the network. ${text}.`
    this.#onTrouble?.(vmError('NETBOOT_FAILED', { summary, hint }), stage)
  }

  #noteChange(path: string): void {
    this.folder.findChange(path).then(
      (change) => change !== undefined && this.#changes.set(path, change),
      () => {}, // only a hint would have come of it
    )
  }
}

const UNKNOWN_CLIENT: NetbootClient = { mac: '', firmware: 'unknown', uuid: undefined }
