// `npm run test:times [-- FILE.json …] [--count N]`: the test files and tests that take longest, from the JSON results of earlier runs
// (`WITHVM_RESULTS=FILE.json npm test`; default: `test-results/*.json`, which `.ci/run` writes).
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'

const RESULTS = 'test-results'
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string', default: '25' } },
})
const count = Number(values.count)

const paths = positionals.length > 0 ? positionals : listResults()
const files = paths.flatMap((path) => JSON.parse(readFileSync(path, 'utf8')).testResults).map(readFile)
const tests = files.flatMap(({ name, tests }) => tests.map((test) => ({ ...test, file: name })))

const totalMs = sum(files.map(({ ms }) => ms))
console.log(`${files.length} files, ${tests.length} tests: ${seconds(totalMs)} s of all workers together`)
print('Longest files', files, ({ name, tests }) => `${name} (${tests.length} tests)`)
print('Longest tests', tests, ({ file, title }) => `${file}: ${title}`)

function listResults() {
  const names = readdirSync(RESULTS).filter((name) => name.endsWith('.json'))
  return names.map((name) => join(RESULTS, name))
}

/** Hooks count for the file only. */
function readFile({ name, startTime, endTime, assertionResults }) {
  const tests = assertionResults.map(({ fullName, duration = 0 }) => ({ title: fullName, ms: duration }))
  return {
    name: relative(process.cwd(), name),
    tests,
    ms: Math.max(endTime - startTime, sum(tests.map(({ ms }) => ms))),
  }
}

function print(title, rows, describe) {
  console.log(`\n${title}, seconds:`)
  for (const row of rows.toSorted((a, b) => b.ms - a.ms).slice(0, count))
    console.log(`${seconds(row.ms).padStart(7)}  ${describe(row)}`)
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0)
}

function seconds(ms) {
  return (ms / 1000).toFixed(1)
}
