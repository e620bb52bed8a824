import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenFolder } from '../common/files/open-folder.js'
import { requireFiles } from '../common/host-error.js'
import { pollUntil } from '../common/poll.js'
import { type Privileges, setPrivileges, tieHelper } from '../common/process/set-privileges.js'
import { vmError } from '../errors.js'
import { pickQemuEnvironment } from './environment.js'

/** Timeout of a start: swtpm listens within tens of milliseconds, on a busy host within seconds. */
const START_TIMEOUT_MS = 20_000
const POLL_MS = 10

const SOCKET = 'tpm.sock'

/** Settings of swtpm. If it outlives this process, it ends with the QEMU that it serves. */
export interface TpmSettings extends Privileges {
  /** Path of swtpm. */
  readonly program: string
  readonly version: '1.2' | '2.0'
  /** Folder for the state of the TPM, shared by all power-ons of a guest. */
  readonly stateDir: string
  /** Folder for its socket. */
  readonly sockets: OpenFolder
}

/** TPM emulator. Each QEMU is served by a new swtpm process, which ends with that QEMU. */
export class TpmEmulator {
  readonly #settings: TpmSettings
  #running: { readonly ended: Promise<unknown>; kill(): void; leave(): void } | undefined
  /** Process that was started early, for the next QEMU. */
  #early: Promise<void> | undefined

  constructor(settings: TpmSettings) {
    this.#settings = settings
  }

  /** Folder with the state of the TPM. */
  get stateDir(): string {
    return this.#settings.stateDir
  }

  get socket(): string {
    return join(this.#settings.sockets.path, SOCKET)
  }

  /** Starts swtpm for the next QEMU, while other resources are acquired. */
  startEarly(): void {
    this.#early = this.#launch()
    this.#early.catch(() => {}) // start() reports the error
  }

  /**
   * Starts swtpm for the next QEMU, unless it was started early.
   * @throws {InfrastructureError} QEMU_FAILED when swtpm does not listen in time.
   */
  async start(): Promise<void> {
    const early = this.#early
    this.#early = undefined
    if (early !== undefined) return early
    await this.stop()
    await this.#launch()
  }

  async #launch(): Promise<void> {
    const { execa } = await import('execa')
    const { program, version, stateDir, sockets, endsWithParent, user } = this.#settings
    const { socket } = this
    await sockets.remove(SOCKET)
    const args = [
      'socket',
      ...(version === '2.0' ? ['--tpm2'] : []),
      ...['--tpmstate', `dir=${stateDir},mode=0600`],
      ...['--ctrl', `type=unixio,path=${socket},mode=0600`],
      '--terminate',
    ]
    const helper = { file: program, args }
    const settings = {
      cwd: '/', // another user must not get into the folder of this process
      stdio: ['ignore', 'pipe', 'pipe'],
      all: true,
      reject: false,
      cleanup: endsWithParent,
      detached: !endsWithParent,
      env: pickQemuEnvironment(process.env),
      extendEnv: false,
    } as const
    const start = endsWithParent
      ? await tieHelper(helper, settings, { user })
      : await setPrivileges(helper, { endsWithParent, user }, settings)
    requireFiles()
    const child = execa(...start)
    let failure: string | undefined
    const ended = child.then(({ all, exitCode, signal }) => {
      failure = `${all || '(no output)'}\n(${signal === undefined ? `exit code ${exitCode}` : `signal ${signal}`})`
    })
    this.#running = {
      ended,
      kill: () => void child.kill('SIGKILL'),
      leave: () => {
        child.unref()
      },
    }
    const checkSocket = async () => {
      if (await exists(socket)) return true
      return failure === undefined ? undefined : false
    }
    if (!(await pollUntil(checkSocket, { intervalMs: POLL_MS, timeoutMs: START_TIMEOUT_MS }))) {
      await this.#kill()
      throw vmError('QEMU_FAILED', {
        summary: 'The TPM emulator did not start: swtpm does not listen.',
        evidence: [{ label: 'Output of swtpm', text: failure ?? '(swtpm is still running)' }],
        hint: `Run swtpm manually to find the problem: \`${[program, ...args].join(' ')}\`.`,
      })
    }
  }

  /** Kills swtpm and waits for its end. */
  async stop(): Promise<void> {
    await this.#early?.catch(() => {}) // start() reports the error
    this.#early = undefined
    await this.#kill()
  }

  async #kill(): Promise<void> {
    this.#running?.kill()
    await this.#running?.ended
    this.#running = undefined
  }

  /** Detaches a process that outlives this one. */
  leave(): void {
    this.#running?.leave()
    this.#running = undefined
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
