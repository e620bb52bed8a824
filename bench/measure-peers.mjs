// Compares Debian guests with one command each: withvm and the other test harnesses that Debian packages.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withVM } from 'withvm'
import { runAutopkgtest } from './peers/autopkgtest.mjs'
import { runDebvm } from './peers/debvm.mjs'
import { makePeerImage } from './peers/image.mjs'
import { median, table, timed } from './statistics.mjs'

const PEERS = {
  debvm: { run: runDebvm, program: 'debvm-create' },
  autopkgtest: { run: runAutopkgtest, program: 'autopkgtest-virt-qemu' },
}

/** Makes a wrapper that the other harnesses start as QEMU, for hosts whose accelerator is TCG. */
function makeTcgWrapper() {
  const bin = mkdtempSync(join(tmpdir(), 'peers-'))
  const names = ['kvm', 'qemu-system-x86_64']
  for (const name of names) symlinkSync(join(import.meta.dirname, 'peers/qemu-tcg'), join(bin, name))
  return { bin, qemu: join(bin, 'qemu-system-x86_64') }
}

/** Measures the guests of each harness and compares their total durations. */
export async function measureDebianPeers({ host, rounds }) {
  const missing = Object.values(PEERS).filter(({ program }) => !isInstalled(program))
  if (missing.length > 0) {
    console.log(
      `Other harnesses: not measured; install them first: apt install ${Object.keys(PEERS).join(' ')}\n`,
    )
    return undefined
  }
  const image = makePeerImage()
  const { bin, qemu } = makeTcgWrapper()
  const isTcg = host.accelerator === 'tcg'
  const env = { ...process.env, QEMU_FOR_PEERS: host.qemuPath }
  if (isTcg) env.PATH = `${bin}:${process.env.PATH}`
  const way = { env, qemu: isTcg ? qemu : host.qemuPath }
  const ours = () => withVM({ image: 'debian', log: () => {} }, (vm) => vm.ssh`true`)
  const harnesses = { withvm: ours }
  for (const [name, { run }] of Object.entries(PEERS)) harnesses[name] = () => run(image, way)
  const times = Object.fromEntries(Object.keys(harnesses).map((name) => [name, []]))
  try {
    await ours() // builds the template once, like the image of the other harnesses
    for (const [name, run] of Object.entries(harnesses)) {
      for (let round = 0; round < rounds; round++) times[name].push(await timed(run))
    }
  } finally {
    rmSync(bin, { recursive: true })
  }
  return report(times, rounds)
}

function report(times, rounds) {
  const sum = (values) => values.reduce((total, value) => total + value, 0)
  const rows = [[`${rounds} fresh Debian guests, seconds`, 'all', 'median', 'withvm is faster by']]
  const result = {}
  for (const [name, values] of Object.entries(times)) {
    const faster = sum(values) / sum(times.withvm)
    result[name] = { allMs: sum(values), oneMs: median(values), faster }
    rows.push([
      name,
      seconds(sum(values)),
      seconds(median(values)),
      name === 'withvm' ? '' : `${faster.toFixed(1)} x`,
    ])
  }
  console.log(`${table(rows)}\n`)
  return result
}

function isInstalled(program) {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const seconds = (value) => (value / 1000).toFixed(2)
