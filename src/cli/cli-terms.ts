/** Flags of `withvm run` and `withvm boot` by the option of the API that each sets. */
const FLAGS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    accel: '--accel',
    append: '--append',
    arch: '--arch',
    commandLine: '--from',
    cpu: '--cpu',
    cpus: '--cpus',
    firmware: '--firmware',
    format: '--format',
    hostfwd: '--hostfwd',
    image: 'IMAGE',
    'image.format': '--format',
    'image.secret': '--secret-file',
    'image.sha256': '--sha256',
    'image.sha512': '--sha512',
    initrd: '--initrd',
    kernel: '--kernel',
    machine: '--machine',
    memory: '--memory',
    network: '--internet',
    runAs: '--run-as',
    secret: '--secret-file',
    'ssh.user': '--user',
    'ssh.privateKey': '--identity',
    start: '--cold',
    'timeouts.start': '--timeout',
  }),
)

/** Texts that name an option of the API together with a value, and their replacements. */
const PHRASES: ReadonlyArray<readonly [pattern: RegExp, text: string]> = [
  [/`accel: '(\w+)'`/g, '`--accel $1`'],
  [/`firmware: '(\w+)'`/g, '`--firmware $1`'],
  [/`format: '([\w.]+)'`/g, '`--format $1`'],
  [/`machine: '([\w.-]+)'`/g, '`--machine $1`'],
  [/`network: \{ internet: true \}`/g, '`--internet`'],
  [/`start: 'cold'`/g, '`--cold`'],
  [/`timeouts: \{ start: … \}`/g, '`--timeout`'],
  [/`image: \{ path, secret: \{ file \} \}`/g, '`--secret-file`'],
  [/set `ready: 'none'` to boot/g, 'run `withvm boot --console` to boot'],
  [/set ready: 'none' and ssh: false/g, 'run `withvm boot --console`'],
  [/, or raise `max(?:Bytes|Files)`/g, ''],
  [/`ssh: \{ user, privateKey \}`/g, '`--user` and `--identity`'],
  // The command has no flags for these; the environment has.
  [/the option `qemu`,? or (?:with )?WITHVM_QEMU/g, 'WITHVM_QEMU'],
  [/(?:the option )?`tmpdir` \(or TMPDIR\)/g, 'TMPDIR'],
  [/`tmpdir`/g, 'TMPDIR'],
  [/\b(?:withVM|launchVM)\(\)/g, '`withvm run`'],
  [/(?<!\/)\bdocs\/options\.md describes all options\./g, 'Run `withvm run --help` to list all options.'],
]

/** Option in backticks, alone: `memory`. */
const OPTION = /`([A-Za-z]+(?:\.[A-Za-z0-9]+)*)`/g
/** Path in a line of an error that lists options: `  - hostfwd[0].guest: expected …`. */
const PROBLEM = /^( {2}- )([A-Za-z]\w*(?:\.\w+|\[\d+\])*)(?=: expected )/gm

/**
 * Rewrites a message, which names options of the API, for users of the command line: `memory`
 * becomes `--memory`. Evidence, whose lines start with `|`, stays unchanged.
 */
export function toCliTerms(message: string): string {
  return message
    .split('\n')
    .map((line) => (line.startsWith('  | ') ? line : translateLine(line)))
    .join('\n')
}

function translateLine(line: string): string {
  const phrased = PHRASES.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), line)
  return phrased
    .replace(PROBLEM, (all, bullet: string, path: string) => {
      const flag = findFlag(path)
      return flag === undefined ? all : `${bullet}${flag}`
    })
    .replace(OPTION, (all, path: string) => {
      const flag = FLAGS.get(path)
      return flag === undefined ? all : `\`${flag}\``
    })
}

/** Returns the flag of the longest known part of a path such as `hostfwd[0].guest`. */
function findFlag(path: string): string | undefined {
  for (let part = path.replaceAll(/\[\d+\]/g, ''); part !== ''; part = part.replace(/(?:^|\.)\w+$/, '')) {
    const flag = FLAGS.get(part)
    if (flag !== undefined) return flag
  }
  return undefined
}
