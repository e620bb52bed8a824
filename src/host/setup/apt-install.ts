import { setTimeout as sleep } from 'node:timers/promises'
import { vmError } from '../../errors.js'
import { runProgram } from '../program.js'

export interface AptOptions {
  readonly env: NodeJS.ProcessEnv
  /** Gets a line before each command. */
  readonly log: (line: string) => void
  readonly signal?: AbortSignal | undefined
}

/** How root's commands are started: as they are by root, through sudo where it asks for no password. */
export type Privilege = readonly [] | readonly ['sudo', '-n']

/** How long to wait for another apt, as one that installs updates in the background. */
const LOCK_TIMEOUT_S = 300

const LOCK_RETRY_MS = 2000

/** Says how this user becomes root without being asked anything, or undefined. */
export async function findPrivilege(
  env: NodeJS.ProcessEnv,
  uid = process.geteuid?.(),
): Promise<Privilege | undefined> {
  if (uid === 0) return []
  const answer = await runProgram('sudo', ['-n', 'true'], { timeoutMs: 10_000, env })
  return answer.exitCode === 0 ? ['sudo', '-n'] : undefined
}

/**
 * Installs packages with apt, its output shown live. Package lists are fetched only when a package is unknown, or
 * when its download fails because they are old; a third party's source that fails does no harm.
 *
 * @throws {InfrastructureError} SETUP_FAILED with the end of what apt printed.
 */
export async function installPackages(
  packages: readonly string[],
  privilege: Privilege,
  options: AptOptions,
): Promise<void> {
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages]
  let updated = await updateUnless(await areKnown(packages, options), privilege, options)
  for (;;) {
    const { exitCode, output } = await runApt(install, privilege, options)
    if (exitCode === 0) return
    if (updated || !isStale(output)) throw installError(install, exitCode, output)
    updated = await updateUnless(false, privilege, options)
  }
}

/** True when apt could install all of them from the lists that it has. */
async function areKnown(packages: readonly string[], options: AptOptions): Promise<boolean> {
  const policy = await runProgram('apt-cache', ['policy', ...packages], {
    timeoutMs: 60_000,
    env: options.env,
  })
  const candidates = [...policy.stdout.matchAll(/^ {2}Candidate: (.+)$/gm)].map((match) => match[1])
  return candidates.length >= packages.length && !candidates.includes('(none)')
}

/** The exit code does not matter: whether the packages can be had now is what the installation shows. */
async function updateUnless(skip: boolean, privilege: Privilege, options: AptOptions): Promise<boolean> {
  if (skip) return false
  const begin = performance.now()
  for (;;) {
    const { output } = await runApt(['apt-get', 'update', '-q'], privilege, options)
    // apt waits by itself for the lock of an installation, but not for that of the package lists.
    const isLocked = /Could not get lock|Unable to lock directory/.test(output)
    if (!isLocked || performance.now() - begin > LOCK_TIMEOUT_S * 1000) return true
    options.log('Another apt is at work; waiting for it …')
    await sleep(LOCK_RETRY_MS, undefined, { signal: options.signal })
  }
}

/** Signs that the package lists are older than what the servers have. */
function isStale(output: string): boolean {
  return /Failed to fetch|404 +Not Found|Unable to locate package|has no installation candidate|Hash Sum mismatch/.test(
    output,
  )
}

async function runApt(
  command: readonly string[],
  privilege: Privilege,
  options: AptOptions,
): Promise<{ exitCode: number | undefined; output: string }> {
  const { execa } = await import('execa')
  const [program = 'apt-get', ...args] = command
  const locked = ['-o', `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`]
  const rooted = [
    ...privilege,
    'env',
    'DEBIAN_FRONTEND=noninteractive',
    'LC_ALL=C',
    program,
    ...locked,
    ...args,
  ]
  options.log(`$ ${[...privilege, ...command].join(' ')}`)
  // Without a time limit: an apt that is killed while dpkg works leaves packages half installed.
  const result = await execa('env', rooted, {
    reject: false,
    env: options.env,
    extendEnv: false,
    stdin: 'ignore',
    stdout: ['inherit', 'pipe'],
    stderr: ['inherit', 'pipe'],
    all: true,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  })
  options.signal?.throwIfAborted()
  return { exitCode: result.exitCode, output: result.all ?? '' }
}

function installError(command: readonly string[], exitCode: number | undefined, output: string): Error {
  return vmError('SETUP_FAILED', {
    summary: `apt could not install what withvm needs (exit code ${exitCode ?? 'unknown'}).`,
    evidence: [
      { label: 'Command', text: command.join(' ') },
      { label: "The end of apt's output", text: output.trimEnd().split('\n').slice(-15).join('\n') },
    ],
    hint: 'Make `apt-get update` and the command above work on this host (network, sources, free space), then run it again.',
  })
}
