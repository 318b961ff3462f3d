export { decide, type Route, type RouteRequest } from './decide.ts'
export { type Complexity, score } from './score.ts'
