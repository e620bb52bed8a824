// `npm run compat [-- --only TEXT] [--list]` packs withvm, installs the tarball in empty projects, and runs a guest with other
// releases of Node.js, Vitest and TypeScript, with other test runners, and with fewer privileges. Prints a table.
import { spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../../bench/statistics.mjs'

const ROOT = resolve(import.meta.dirname, '../..')
const CONSUMER = join(import.meta.dirname, 'consumer')
/** Timeout of one row, milliseconds. */
const TIMEOUT_MS = 300_000
/** User and group without any rights: nobody. */
const NOBODY = '65534'

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, list: { type: 'boolean', default: false } },
})

/** Releases of Node.js, and the releases of Vitest that run on them. */
const NODES = ['20', '22', '24', 'latest']
const VITESTS = ['4', '5']
const VITEST_5_NODES = ['22', '24', 'latest']
const TYPESCRIPTS = ['5.4', '5.9', '6', '7']

const rows = [
  ...VITESTS.flatMap((vitest) =>
    (vitest === '5' ? VITEST_5_NODES : NODES).map((node) => ({
      name: `Node.js ${node}, Vitest ${vitest}`,
      packages: [`vitest@${vitest}`],
      files: ['smoke.mjs', 'vitest.test.mjs'],
      node,
      command: ['node_modules/vitest/vitest.mjs', 'run'],
    })),
  ),
  ...['20', 'latest'].map((node) => ({
    name: `Node.js ${node}, node:test`,
    packages: [],
    files: ['smoke.mjs', 'node.test.mjs'],
    node,
    command: ['--test', 'node.test.mjs'],
  })),
  {
    name: 'Jest',
    packages: ['jest'],
    files: ['smoke.mjs', 'jest.test.mjs'],
    node: '22',
    command: [
      '--experimental-vm-modules',
      'node_modules/jest/bin/jest.js',
      '--testMatch',
      '**/jest.test.mjs',
    ],
  },
  {
    name: 'Bun',
    packages: ['bun'],
    files: ['smoke.mjs', 'bun.test.mjs'],
    prefix: ['node_modules/.bin/bun', 'test', './bun.test.mjs'],
  },
  {
    name: 'node:test, a user without rights',
    packages: [],
    files: ['smoke.mjs', 'node.test.mjs'],
    node: '22',
    user: NOBODY,
    command: ['--test', 'node.test.mjs'],
  },
  {
    name: 'node:test, root without capabilities',
    packages: [],
    files: ['smoke.mjs', 'node.test.mjs'],
    node: '22',
    dropsCapabilities: true,
    command: ['--test', 'node.test.mjs'],
  },
  ...TYPESCRIPTS.flatMap((version) =>
    [
      ['withvm', 'types.ts', []],
      ['withvm/vitest', 'vitest-types.ts', ['vitest@4']],
    ].map(([entry, file, packages]) => ({
      name: `TypeScript ${version}, ${entry}`,
      packages: [
        ...TYPESCRIPTS.map((one) => `ts${one}@npm:typescript@${one}`),
        '@types/node@20',
        ...packages,
      ],
      files: [file],
      types: true,
      node: '22',
      command: [`node_modules/ts${version}/bin/tsc`, '-p', '.'],
    })),
  ),
]

const selected = rows.filter(({ name }) => name.toLowerCase().includes(values.only.toLowerCase()))
if (values.list) {
  for (const { name } of selected) console.log(name)
  process.exit()
}

const folder = mkdtempSync(join(tmpdir(), 'compat-'))
chmodSync(folder, 0o755)
/** Programs that run, each the leader of its process group. */
const running = new Set()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    for (const { pid } of running) process.kill(-pid, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    process.exit(1)
  })
}

const results = []
/** Folders of installed projects by their packages, and paths of releases of Node.js. */
const [projects, nodes] = [new Map(), new Map()]
try {
  const tarball = await pack()
  for (const row of selected) {
    const startedAt = performance.now()
    const { result, output } = await check(row, tarball)
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    results.push([row.name, result, seconds])
    console.log(`${result.padEnd(7)} ${row.name} (${seconds} s)`)
    if (result !== 'ok')
      console.log(output.trimEnd().split('\n').slice(-60).join('\n').replace(/^/gm, '  | '))
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`\n${table([['environment', 'result', 'seconds'], ...results])}`)
const failed = results.filter(([, result]) => result === 'failed')
const ok = results.filter(([, result]) => result === 'ok')
console.log(`\n${ok.length} of ${results.length} environments work`)
process.exitCode = failed.length === 0 && results.length > 0 ? 0 : 1

/** Builds and packs withvm. Returns the path of the tarball. */
async function pack() {
  await runOrThrow('npm', ['run', 'build'], ROOT)
  await runOrThrow('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], ROOT)
  const name = readdirSync(folder).find((file) => file.endsWith('.tgz'))
  return join(folder, name)
}

/** Installs the packages of a row in an empty project, and runs its command. */
async function check(row, tarball) {
  if (row.dropsCapabilities && process.getuid() !== 0) {
    return { result: 'skipped', output: 'Only root can drop capabilities.' }
  }
  try {
    const project = await prepareProject(row, tarball)
    const [program, ...args] = await commandOf(row)
    const env = { ...process.env, CI: '', TMPDIR: join(project, 'tmp'), ...(await userEnv(row, project)) }
    const { code, output } = await run(program, args, { cwd: project, env })
    return { result: code === 0 ? 'ok' : 'failed', output }
  } catch (error) {
    return { result: 'failed', output: String(error.message) }
  }
}

/** Returns the folder of a project with these packages. Rows with the same packages share one. */
async function prepareProject({ packages, files, types = false }, tarball) {
  const key = JSON.stringify(packages)
  const project = projects.get(key) ?? join(folder, `project-${projects.size}`)
  if (!projects.has(key)) {
    mkdirSync(join(project, 'tmp'), { recursive: true })
    chmodSync(join(project, 'tmp'), 0o1777)
    writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }')
    const flags = ['--no-audit', '--no-fund', '--prefer-offline', ...(types ? ['--ignore-scripts'] : [])]
    const install = ['install', ...flags, tarball, ...packages]
    await runOrThrow('npm', install, project)
    projects.set(key, project)
  }
  for (const file of files) cpSync(join(CONSUMER, file), join(project, file))
  if (types) {
    const compilerOptions = {
      target: 'ES2022',
      module: 'NodeNext',
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
    }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: files }))
  }
  return project
}

async function commandOf({ prefix, node, command, user, dropsCapabilities }) {
  const drop = dropsCapabilities ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : []
  const become =
    user === undefined || process.getuid() !== 0
      ? []
      : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups']
  return [...drop, ...become, ...(prefix ?? [await findNode(node), ...command])]
}

/** Gives another user a home directory, and a cache of its own with the image that other rows have built. */
async function userEnv({ user }, project) {
  if (user === undefined || process.getuid() !== 0) return {}
  const home = join(project, 'home')
  const images = join(home, 'cache/images')
  mkdirSync(images, { recursive: true })
  const built = join(process.env.WITHVM_CACHE ?? join(process.env.HOME, '.cache/withvm'), 'images')
  const names = existsSync(built) ? readdirSync(built).filter((name) => name.startsWith('tiny-')) : []
  for (const name of names)
    await runOrThrow('cp', ['-a', '--sparse=always', join(built, name), images], project)
  await runOrThrow('chown', ['-R', `${user}:${user}`, home], project)
  return {
    HOME: home,
    WITHVM_CACHE: join(home, 'cache'),
    WITHVM_POOL: `compat-${user}`,
    USER: 'nobody',
    LOGNAME: 'nobody',
  }
}

/** Returns the path of a release of Node.js, which is installed from the npm package `node`. */
async function findNode(version) {
  if (!nodes.has(version)) {
    const { output } = await runOrThrow('npx', ['-y', `node@${version}`, '-p', 'process.execPath'], folder)
    // The path is the last line. npx installs in a folder of this user, which another user cannot enter.
    const copy = join(folder, `node-${version}`)
    cpSync(output.trim().split('\n').at(-1), copy)
    nodes.set(version, copy)
  }
  return nodes.get(version)
}

async function runOrThrow(program, args, cwd) {
  const done = await run(program, args, { cwd, env: process.env })
  if (done.code !== 0) throw new Error(`${program} ${args.join(' ')} failed (${done.code}):\n${done.output}`)
  return done
}

/** Runs a program. Resolves to its exit code and its output, which it does not write to a terminal. */
function run(program, args, { cwd, env }) {
  return new Promise((done, fail) => {
    const file = resolve(cwd, program)
    const child = spawn(program.includes('/') ? file : program, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
    const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), TIMEOUT_MS)
    running.add(child)
    child.once('error', fail)
    child.once('close', (code, signal) => {
      running.delete(child)
      clearTimeout(timer)
      done({ code: code ?? signal, output })
    })
  })
}
