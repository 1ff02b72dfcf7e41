import { order } from "./order";

order.push("second");
