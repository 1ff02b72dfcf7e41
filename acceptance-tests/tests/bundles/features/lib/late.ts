import { sum } from "./sum";

export default "late default";
export { sum };
