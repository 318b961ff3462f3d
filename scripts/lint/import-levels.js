// A package imports only packages of a lower level. Services sit on top of the libs and never import each other;
// emulators import neither, so that they can be used on their own, and production code never imports them.
const levels = {
  errors: 0,
  contracts: 1,
  resilience: 1,
  telemetry: 1,
  'service-kit': 2,
  messaging: 2,
  storage: 2,
  signalr: 2,
  ledger: 3,
  admission: 3,
  routing: 3,
  models: 3,
  progress: 3,
  batch: 4,
  cache: 4,
  parking: 4,
  memory: 4,
  execution: 5,
}

/** @returns {{ kind: 'lib' | 'service' | 'emulator' | 'other', name: string }} the room that a file or a package lives in */
function roomOf(path) {
  const match = /(?:^|\/)(libs|services|emulators)\/([^/]+)\//.exec(path)
  if (!match) return { kind: 'other', name: '' }
  const kind = { libs: 'lib', services: 'service', emulators: 'emulator' }[match[1]]
  return { kind, name: match[2] }
}

function roomOfSpecifier(specifier, file) {
  if (specifier.startsWith('@sluice/emulator-')) return { kind: 'emulator', name: specifier.slice(17).split('/')[0] }
  if (specifier.startsWith('@sluice/')) {
    const name = specifier.slice(8).split('/')[0]
    return { kind: name in levels ? 'lib' : 'service', name }
  }
  if (!specifier.startsWith('.')) return undefined
  return roomOf(new URL(specifier, `file://${file}`).pathname)
}

function complaint(from, to, specifier) {
  if (!to || from.kind === 'other' || to.kind === 'other') return undefined
  if (from.kind === to.kind && from.name === to.name) {
    return specifier.startsWith('@') ? `${from.name} imports itself by its package name` : undefined
  }
  if (!specifier.startsWith('@')) return `reach ${to.name} by its package name, never by a path into its src`
  if (/^@sluice\/[^/]+\/./.test(specifier)) return `import ${to.name} through its index, never a file inside it`
  if (from.kind === 'emulator') {
    return to.kind === 'emulator' ? undefined : 'an emulator imports nothing from libs or services'
  }
  if (to.kind === 'emulator') return 'production code never imports an emulator'
  if (to.kind === 'service') return 'services are never imported'
  if (from.kind === 'service') return undefined
  if (!(from.name in levels)) return `${from.name} has no level in scripts/lint/import-levels.js`
  if (levels[to.name] < levels[from.name]) return undefined
  return `${from.name} (level ${levels[from.name]}) may not import ${to.name} (level ${levels[to.name]})`
}

const rule = {
  create(context) {
    const file = context.filename
    const from = roomOf(file)
    const isTest = file.endsWith('.test.ts')
    const check = (node) => {
      if (!node.source || typeof node.source.value !== 'string') return
      const message = complaint(from, roomOfSpecifier(node.source.value, file), node.source.value)
      if (message && !(isTest && message.startsWith('production'))) context.report({ node: node.source, message })
    }
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    }
  },
}

export default { meta: { name: 'sluice' }, rules: { 'import-levels': rule } }
