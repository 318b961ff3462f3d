import type { BuiltIn } from './functions.ts'

const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined)

const onNumber = (apply: (x: number) => number): BuiltIn => ({
  arity: [1, 1],
  apply: ([x]) => (typeof x === 'number' ? finite(apply(x)) : undefined),
})

const onNumbers = (apply: (x: number, y: number) => number): BuiltIn => ({
  arity: [2, 2],
  apply: ([x, y]) => (typeof x === 'number' && typeof y === 'number' ? finite(apply(x, y)) : undefined),
})

export const mathFunctions: Record<string, BuiltIn> = {
  ABS: onNumber(Math.abs),
  ACOS: onNumber(Math.acos),
  ASIN: onNumber(Math.asin),
  ATAN: onNumber(Math.atan),
  ATN2: onNumbers(Math.atan2),
  CEILING: onNumber(Math.ceil),
  COS: onNumber(Math.cos),
  COT: onNumber((x) => 1 / Math.tan(x)),
  DEGREES: onNumber((x) => (x * 180) / Math.PI),
  EXP: onNumber(Math.exp),
  FLOOR: onNumber(Math.floor),
  LOG: {
    arity: [1, 2],
    apply: ([x, base]) => {
      if (typeof x !== 'number' || (base !== undefined && typeof base !== 'number')) return undefined
      return finite(base === undefined ? Math.log(x) : Math.log(x) / Math.log(base))
    },
  },
  LOG10: onNumber(Math.log10),
  PI: { arity: [0, 0], apply: () => Math.PI },
  POWER: onNumbers((x, y) => x ** y),
  RADIANS: onNumber((x) => (x * Math.PI) / 180),
  RAND: { arity: [0, 0], apply: () => Math.random() },
  ROUND: onNumber((x) => Math.sign(x) * Math.round(Math.abs(x))),
  SIGN: onNumber(Math.sign),
  SIN: onNumber(Math.sin),
  SQRT: onNumber(Math.sqrt),
  SQUARE: onNumber((x) => x * x),
  TAN: onNumber(Math.tan),
  TRUNC: onNumber(Math.trunc),
}
