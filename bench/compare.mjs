// `npm run bench:compare -- --other FOLDER [--rounds N]` compares warm and standby starts of this checkout and another one, alternating.
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { median } from './statistics.mjs'

const { values } = parseArgs({
  options: { other: { type: 'string' }, rounds: { type: 'string', default: '10' } },
})
if (values.other === undefined)
  throw new Error('--other FOLDER is required: a built checkout to compare with')
const rounds = Number(values.rounds)
const roots = { this: resolve(import.meta.dirname, '..'), other: resolve(values.other) }

/** Measures several guests of each kind, from the call to the first result over SSH. The first guest builds the template. */
const PROGRAM = `
  const { withVM } = await import(process.argv[1] + '/dist/fixtures/index.js')
  const start = async (standby) => {
    const startedAt = performance.now()
    let ms
    await withVM({ log: () => {}, standby }, async (vm) => {
      await vm.ssh\`true\`
      ms = performance.now() - startedAt
      // Long enough for the next standby to be ready.
      if (standby) await new Promise((resolve) => setTimeout(resolve, 2000))
    })
    return ms
  }
  const times = { warm: [], standby: [] }
  await start(false)
  for (let guest = 0; guest < 5; guest++) times.warm.push(await start(false))
  await start(true)
  for (let guest = 0; guest < 10; guest++) times.standby.push(await start(true))
  process.stdout.write(JSON.stringify(times), () => process.exit())`

const ratios = { warm: [], standby: [] }
const all = { this: { warm: [], standby: [] }, other: { warm: [], standby: [] } }
await measure('this')
await measure('other')
for (let round = 0; round < rounds; round++) {
  // The second run of a pair is slower on some hosts.
  const order = round % 2 === 0 ? ['this', 'other'] : ['other', 'this']
  const found = {}
  for (const name of order) found[name] = await measure(name)
  for (const kind of ['warm', 'standby']) {
    ratios[kind].push(median(found.this[kind]) / median(found.other[kind]))
    for (const name of order) all[name][kind].push(...found[name][kind])
  }
}
for (const kind of ['warm', 'standby']) {
  const [own, other] = [all.this, all.other].map((times) => median(times[kind]).toFixed(1))
  const spread = [Math.min(...ratios[kind]), Math.max(...ratios[kind])].map((ratio) => ratio.toFixed(3))
  console.log(
    `${kind}: ${own} ms here, ${other} ms there; ${median(ratios[kind]).toFixed(3)} x (${rounds} pairs, ${spread.join(' to ')})`,
  )
}

async function measure(name) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, roots[name]], {
    cwd: roots[name],
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', (data) => {
    text += data
  })
  const code = await new Promise((done) => child.once('close', done))
  if (code !== 0) throw new Error(`${roots[name]}: the program ended with ${code}`)
  return JSON.parse(text)
}
