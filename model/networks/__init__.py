"""Networks from outside: preprocessing that is data, running them within limits, and making an encoder of one."""
